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

/** What parts come to, by row or by sequence. */
type Layout = {
  readonly ids: Int32Array<ArrayBuffer>;
  readonly positions: Int32Array<ArrayBuffer>;
  readonly rowSequence: Int32Array<ArrayBuffer>;
  /** [parts, width] */
  readonly blockTable: Int32Array<ArrayBuffer>;
  readonly queryScale: Float32Array<ArrayBuffer>;
  readonly ropeBase: Float32Array<ArrayBuffer>;
};

export type StepOptions = {
  /** Width of an attention head */
  readonly headDim: number;
  /** What scores of a query at a position are multiplied by */
  readonly queryScale: (position: number) => number;
  /** Cache blocks that a sequence may come to have, for steps that are updated; by default what the parts have. */
  readonly maxBlocks?: number;
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
  readonly #options: StepOptions;
  #ropeTable: F32 | undefined;

  constructor(device: Device, parts: readonly StepPart[], options: StepOptions) {
    const width = options.maxBlocks ?? Math.max(1, ...parts.map((part) => part.blocks.length));
    this.#options = { ...options, maxBlocks: width };
    const layout = this.#layOut(parts);
    this.rows = layout.ids.length;
    this.ids = device.from("i32", layout.ids);
    this.positions = device.from("i32", layout.positions);
    this.rowSequence = device.from("i32", layout.rowSequence);
    this.blockTable = device.from("i32", layout.blockTable, [parts.length, width]);
    this.queryScale = device.from("f32", layout.queryScale);
    this.#ropeBase = device.from("f32", layout.ropeBase);
  }

  /**
   * Puts the next rows in the place of these, for operations that were captured: as many parts, each with as many tokens, and a
   * table of rotations that is computed among those operations.
   */
  update(parts: readonly StepPart[]): void {
    const layout = this.#layOut(parts);
    this.ids.write(layout.ids);
    this.positions.write(layout.positions);
    this.rowSequence.write(layout.rowSequence);
    this.blockTable.write(layout.blockTable);
    this.queryScale.write(layout.queryScale);
    this.#ropeBase.write(layout.ropeBase);
  }

  #layOut(parts: readonly StepPart[]): Layout {
    const { queryScale, maxBlocks: width = 1 } = this.#options;
    const rows = parts.reduce((sum, part) => sum + part.tokens.length, 0);
    const positions = new Int32Array(rows);
    const rowSequence = new Int32Array(rows);
    const ids = new Int32Array(rows);
    const blockTable = new Int32Array(parts.length * width);
    let row = 0;
    for (const [sequence, part] of parts.entries()) {
      blockTable.set(part.blocks, sequence * width);
      rowSequence.fill(sequence, row, row + part.tokens.length);
      ids.set(part.tokens, row);
      for (let i = 0; i < part.tokens.length; i++) positions[row + i] = part.start + i;
      row += part.tokens.length;
    }
    return {
      ...{ ids, positions, rowSequence, blockTable },
      queryScale: Float32Array.from(positions, queryScale),
      ropeBase: Float32Array.from(parts, (part) => part.ropeBase),
    };
  }

  /** [rows, headDim], see ops.ropeTable; made on first use, since not every stage of a block needs it. */
  get ropeTable(): F32 {
    this.#ropeTable ??= ops.ropeTable(
      this.positions,
      this.rowSequence,
      this.#ropeBase,
      this.#options.headDim,
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
