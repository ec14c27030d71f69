// Calibration tokens on their way through the model: the state of every batch between two stages of a block.
import type { F32 } from "../kernels/index.ts";
import { type Block, KvCache, type Model, Step, type StepPart } from "../runtime/index.ts";

/** Rows computed together; bounds the memory of a stage's intermediate results. */
const batchRows = 2048;
const cacheBlock = 64;

type State = ReturnType<Block["begin"]>;

/** All calibration segments, in batches; each block's stages are run over all of them in turn. */
export class CalibratedBlocks implements Disposable {
  readonly #model: Model;
  readonly #cache: KvCache;
  readonly #batches: readonly (readonly StepPart[])[];
  #states: State[];

  /** Enqueues the embedding of every segment. */
  constructor(model: Model, segments: readonly Int32Array[]) {
    this.#model = model;
    const grouped = groupSegments(segments);
    const room = grouped.map((batch) =>
      batch.reduce((sum, ids) => sum + Math.ceil(ids.length / cacheBlock) * cacheBlock, 0),
    );
    this.#cache = new KvCache(model.device, {
      ...model.shape,
      layers: 1,
      blockSize: cacheBlock,
      tokens: Math.max(cacheBlock, ...room),
    });
    this.#batches = grouped.map((batch) => this.#parts(batch));
    this.#states = this.#batches.map((parts) => {
      using step = this.#step(parts);
      return { hidden: model.embed(step), input: undefined };
    });
  }

  /** Enters a block: every batch's state becomes the input of its first stage. */
  begin(block: Block): void {
    this.#states = this.#states.map(({ hidden }) => block.begin(hidden));
  }

  /** What the linears of the coming stage see, batch by batch: [rows, in]. */
  *inputs(): Generator<F32> {
    for (const { input } of this.#states) if (input !== undefined) yield input;
  }

  /** Runs one stage over every batch with the linears the block has now. */
  advance(block: Block, stage: number): void {
    const { run } = block.stages[stage] ?? {};
    if (run === undefined) throw new RangeError(`${block.name} has no stage ${stage}`);
    this.#states = this.#states.map((state, i) => {
      using step = this.#step(this.#batches[i] ?? []);
      return run(state, { step, cache: this.#cache.layer(0) });
    });
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
    const { device, shape } = this.#model;
    return new Step(device, parts, shape.headDim, (position) => this.#model.queryScale(position));
  }

  [Symbol.dispose](): void {
    for (const { hidden, input } of this.#states) {
      hidden[Symbol.dispose]();
      input?.[Symbol.dispose]();
    }
    this.#cache[Symbol.dispose]();
  }
}

function groupSegments(segments: readonly Int32Array[]): readonly (readonly Int32Array[])[] {
  const batches: Int32Array[][] = [];
  let rows = Number.POSITIVE_INFINITY;
  for (const segment of segments) {
    if (rows + segment.length > batchRows) {
      batches.push([]);
      rows = 0;
    }
    batches.at(-1)?.push(segment);
    rows += segment.length;
  }
  return batches;
}
