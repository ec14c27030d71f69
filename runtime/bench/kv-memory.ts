// Qwen's two tables of what a key/value cache of 8 bits saves: memory by batch and by length.
import { type CacheDtype, cacheBytesPerToken, KvCache } from "../cache/kv-cache.ts";
import { forward, type Model, Step, stepOptions } from "../model/index.ts";

export type KvMemoryRow = {
  readonly batch: number;
  /** Tokens of each sequence. */
  readonly length: number;
  /** Bytes of weights, cache and a step's own tensors. */
  readonly bytes: number;
  /** Whether a step of that batch at that length was run, or its cache added to what a smaller one took. */
  readonly isMeasured: boolean;
};

export type KvMemoryOptions = {
  readonly dtype: CacheDtype;
  /** Bytes of a cache up to which a step is run. */
  readonly available: number;
  /** Bytes of weights that lie in mapped files, which no tensor counts. */
  readonly mappedBytes: number;
};

/** The batches and lengths of the tables (QwenLM/Qwen README, "KV cache quantization"): 1,024 tokens each; one sequence. */
export const kvTableCases: readonly (readonly [batch: number, length: number])[] = [
  ...[1, 4, 16, 32, 64, 100].map((batch) => [batch, 1024] as const),
  ...[512, 1024, 2048, 4096, 8192].map((length) => [1, length] as const),
];

/** Positions that a step sees where the whole cache does not fit. */
const shortLength = 64;

/** One row of a table: the last step of generating `length` tokens in each of `batch` sequences. */
export async function kvMemory(
  model: Model,
  [batch, length]: readonly [batch: number, length: number],
  { dtype, available, mappedBytes }: KvMemoryOptions,
): Promise<KvMemoryRow> {
  const bytesOf = (positions: number) =>
    batch * positions * cacheBytesPerToken({ ...model.shape, dtype });
  const isMeasured = bytesOf(length) <= available && length <= model.shape.maxLength;
  const positions = isMeasured ? length : shortLength;
  const peak = await peakOfStep(model, { batch, length: positions, dtype });
  const bytes = mappedBytes + peak + bytesOf(length) - bytesOf(positions);
  return { batch, length, bytes, isMeasured };
}

/** The most that tensors held while the last rows were computed. */
async function peakOfStep(
  model: Model,
  { batch, length, dtype }: { batch: number; length: number; dtype: CacheDtype },
): Promise<number> {
  const { device } = model;
  using cache = new KvCache(device, {
    ...model.shape,
    dtype,
    tokens: batch * length,
    blockSize: 64,
  });
  const parts = Array.from({ length: batch }, () => {
    const place = cache.open();
    cache.extend(place, length);
    return {
      tokens: [1],
      start: length - 1,
      blocks: place.blocks,
      ropeBase: model.ropeBase(1),
    };
  });
  const run = async () => {
    using step = new Step(device, parts, stepOptions(model));
    using hidden = forward(model, step, cache);
    using choice = model.argmax(hidden, model.shape.vocabulary);
    await choice.read();
  };
  // The first packs weights, which takes more for a moment.
  await run();
  device.memory({ resetPeak: true });
  await run();
  return device.memory().peak;
}
