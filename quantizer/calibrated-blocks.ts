// Calibration tokens on their way through the model: the state of every batch between two stages of a block.
import { type ActivationOptions, ActivationStore } from "../calibration/index.ts";
import { type F32, ops } from "../kernels/index.ts";
import {
  type Block,
  KvCache,
  type Model,
  Step,
  type StepPart,
  stepOptions,
  withInput,
} from "../runtime/index.ts";

/** Rows computed together; bounds the memory of a stage's intermediate results. */
export const batchRows: number = 2048;
const cacheBlock = 64;

type State = ReturnType<Block["begin"]>;

/** Some tokens before a stage. */
export type StageRows = {
  /** [rows, in], of the stage's linears */
  readonly input: F32;
  /** [rows, width], the residual stream */
  readonly hidden: F32;
};

type Batch = {
  readonly parts: readonly StepPart[];
  /** Rows that a Hessian is made of; undefined for all. */
  readonly counted: Int32Array<ArrayBuffer> | undefined;
};

export type CalibratedBlocksOptions = ActivationOptions & {
  readonly segments: readonly Int32Array[];
  /** Which tokens of each segment count, 1 or 0; undefined where all do. */
  readonly masks?: readonly (Uint8Array | undefined)[] | undefined;
};

/** All calibration segments, in batches; each block's stages are run over all of them in turn. */
export class CalibratedBlocks implements AsyncDisposable {
  readonly #model: Model;
  readonly #cache: KvCache;
  readonly #batches: readonly Batch[];
  readonly #store: ActivationStore;

  private constructor(model: Model, { segments, masks, ...options }: CalibratedBlocksOptions) {
    this.#model = model;
    this.#store = new ActivationStore(model.device, options);
    const grouped = groupSegments(segments);
    const room = grouped.map((batch) =>
      batch.reduce((sum, i) => sum + cacheRoom(segments[i]?.length ?? 0), 0),
    );
    this.#cache = new KvCache(model.device, {
      ...model.shape,
      layers: 1,
      blockSize: cacheBlock,
      tokens: Math.max(cacheBlock, ...room),
    });
    this.#batches = grouped.map((batch) => ({
      parts: this.#parts(batch.map((i) => segments[i] ?? new Int32Array())),
      counted: countedRows(batch, segments, masks),
    }));
  }

  /** Embeds every segment. */
  static async open(model: Model, options: CalibratedBlocksOptions): Promise<CalibratedBlocks> {
    const blocks = new CalibratedBlocks(model, options);
    for (const [i, { parts }] of blocks.#batches.entries()) {
      using step = blocks.#step(parts);
      await blocks.#store.put(hiddenOf(i), model.embed(step));
    }
    return blocks;
  }

  /** The most that went to the disk, in bytes. */
  get spilledBytes(): number {
    return this.#store.spilledBytes;
  }

  /** Enters a block: every batch's state becomes the input of its first stage. */
  async begin(block: Block): Promise<void> {
    for (const i of this.#batches.keys()) {
      const hidden = await this.#store.take(hiddenOf(i));
      await this.#keep(i, hidden, block.begin(hidden));
    }
  }

  /** What the coming stage sees of the tokens that count, batch by batch; the tensors stay the store's. */
  async *inputs(): AsyncGenerator<StageRows> {
    for (const [i, { counted }] of this.#batches.entries()) {
      const hidden = await this.#store.take(hiddenOf(i));
      const input = await this.#store.take(inputOf(i));
      if (counted === undefined) yield { input, hidden };
      else if (counted.length > 0) {
        using index = input.device.from("i32", counted);
        using inputRows = ops.gatherRows(input, index);
        using hiddenRows = ops.gatherRows(hidden, index);
        yield { input: inputRows, hidden: hiddenRows };
      }
      this.#store.restore(inputOf(i), input);
      this.#store.restore(hiddenOf(i), hidden);
    }
  }

  /** Runs one stage over every batch with the linears the block has now. */
  async advance(block: Block, stage: number): Promise<void> {
    const { run } = block.stages[stage] ?? {};
    if (run === undefined) throw new RangeError(`${block.name} has no stage ${stage}`);
    for (const [i, { parts }] of this.#batches.entries()) {
      const hidden = await this.#store.take(hiddenOf(i));
      const input = await this.#store.take(inputOf(i));
      using step = this.#step(parts);
      await this.#keep(i, hidden, run({ hidden, input }, { step, cache: this.#cache.layer(0) }));
    }
  }

  /** @param before  the residual stream as it was taken out; a stage that leaves it alone returns the same tensor */
  async #keep(batch: number, before: F32, state: State): Promise<void> {
    const { hidden, input } = withInput(state);
    if (hidden === before) this.#store.restore(hiddenOf(batch), hidden);
    else await this.#store.put(hiddenOf(batch), hidden);
    if (input === undefined) this.#store.drop(inputOf(batch));
    else await this.#store.put(inputOf(batch), input);
  }

  #parts(batch: readonly Int32Array[]): readonly StepPart[] {
    const sequences = batch.map(() => this.#cache.open());
    const parts = batch.map((tokens, i) => {
      const sequence = sequences[i];
      if (sequence === undefined) throw new RangeError("no sequence for a segment");
      this.#cache.extend(sequence, tokens.length);
      const ropeBase = this.#model.ropeBase(tokens.length);
      return { tokens, start: 0, blocks: [...sequence.blocks], ropeBase };
    });
    // Batches run one after another, so each may use the same room.
    for (const sequence of sequences) this.#cache.close(sequence);
    return parts;
  }

  #step(parts: readonly StepPart[]): Step {
    const { device } = this.#model;
    return new Step(device, parts, stepOptions(this.#model));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]();
    this.#cache[Symbol.dispose]();
  }
}

function hiddenOf(batch: number): string {
  return `hidden ${batch}`;
}

function inputOf(batch: number): string {
  return `input ${batch}`;
}

/** Tokens of the cache that a segment takes up. */
function cacheRoom(tokens: number): number {
  return Math.ceil(tokens / cacheBlock) * cacheBlock;
}

/** Indices of segments that are computed together. */
function groupSegments(segments: readonly Int32Array[]): readonly (readonly number[])[] {
  const batches: number[][] = [];
  let rows = Number.POSITIVE_INFINITY;
  for (const [i, segment] of segments.entries()) {
    if (rows + segment.length > batchRows) {
      batches.push([]);
      rows = 0;
    }
    batches.at(-1)?.push(i);
    rows += segment.length;
  }
  return batches;
}

/** Rows of a batch whose tokens count; undefined where all do. */
function countedRows(
  batch: readonly number[],
  segments: readonly Int32Array[],
  masks: CalibratedBlocksOptions["masks"],
): Int32Array<ArrayBuffer> | undefined {
  if (batch.every((i) => masks?.[i] === undefined)) return undefined;
  const rows: number[] = [];
  let first = 0;
  for (const i of batch) {
    const { length } = segments[i] ?? [];
    const mask = masks?.[i];
    for (let row = 0; row < length; row++) if (mask?.[row] !== 0) rows.push(first + row);
    first += length;
  }
  return Int32Array.from(rows);
}
