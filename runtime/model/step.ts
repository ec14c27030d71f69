import { type CacheRows, type Device, type F32, type I32, ops } from "../../kernels/index.ts";

/** Tokens of one sequence that a step computes, and where they stand. */
export type StepPart = {
  readonly tokens: ArrayLike<number>;
  /** Position of the first of them. */
  readonly start: number;
  /** The sequence's cache blocks, enough for start + tokens.length positions. */
  readonly blocks: readonly number[];
  /** Rotary base of the sequence, NTK scaling included. */
  readonly ropeBase: number;
};

/**
 * What one pass over a flat batch of rows needs besides weights, all of it in tensors: rows of several sequences follow
 * one another, prefill and decode mixed as they come.
 */
export class Step implements CacheRows, Disposable {
  readonly rows: number;
  readonly ids: I32;
  readonly positions: I32;
  readonly rowSequence: I32;
  readonly blockTable: I32;
  readonly queryScale: F32;
  readonly #ropeBase: F32;
  readonly #headDim: number;
  #ropeTable: F32 | undefined;

  /**
   * @param headDim     width of an attention head
   * @param queryScale  what scores of a query at a position are multiplied by
   */
  constructor(
    device: Device,
    parts: readonly StepPart[],
    headDim: number,
    queryScale: (position: number) => number,
  ) {
    const rows = parts.reduce((sum, part) => sum + part.tokens.length, 0);
    const positions = new Int32Array(rows);
    const rowSequence = new Int32Array(rows);
    const ids = new Int32Array(rows);
    const width = Math.max(1, ...parts.map((part) => part.blocks.length));
    const blockTable = new Int32Array(parts.length * width);
    let row = 0;
    for (const [sequence, part] of parts.entries()) {
      blockTable.set(part.blocks, sequence * width);
      rowSequence.fill(sequence, row, row + part.tokens.length);
      ids.set(part.tokens, row);
      for (let i = 0; i < part.tokens.length; i++) positions[row + i] = part.start + i;
      row += part.tokens.length;
    }
    this.rows = rows;
    this.ids = device.from("i32", ids);
    this.positions = device.from("i32", positions);
    this.rowSequence = device.from("i32", rowSequence);
    this.blockTable = device.from("i32", blockTable, [parts.length, width]);
    this.queryScale = device.from("f32", Float32Array.from(positions, queryScale));
    this.#ropeBase = device.from(
      "f32",
      Float32Array.from(parts, (part) => part.ropeBase),
    );
    this.#headDim = headDim;
  }

  /** [rows, headDim], see ops.ropeTable; made on first use, since not every stage of a block needs it. */
  get ropeTable(): F32 {
    this.#ropeTable ??= ops.ropeTable(
      this.positions,
      this.rowSequence,
      this.#ropeBase,
      this.#headDim,
    );
    return this.#ropeTable;
  }

  [Symbol.dispose](): void {
    for (const tensor of [this.ids, this.positions, this.rowSequence, this.blockTable]) {
      tensor[Symbol.dispose]();
    }
    for (const tensor of [this.queryScale, this.#ropeBase, this.#ropeTable]) {
      tensor?.[Symbol.dispose]();
    }
  }
}
