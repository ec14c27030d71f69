import { forward, KvCache, type Model, Step, stepOptions } from "../../runtime/index.ts";

/** Logits [tokens, vocabulary] of one sequence computed in one pass, or in chunks of the given sizes. */
export async function sequenceLogits(
  model: Model,
  tokens: Int32Array,
  chunks: readonly number[] = [tokens.length],
): Promise<Float32Array<ArrayBuffer>> {
  const { shape, device } = model;
  using cache = new KvCache(device, { ...shape, dtype: model.kvCache, tokens: tokens.length });
  const sequence = cache.open();
  const ropeBase = model.ropeBase(tokens.length);
  const result = new Float32Array(tokens.length * shape.vocabulary);
  let start = 0;
  for (const size of chunks) {
    cache.extend(sequence, size);
    const part = { tokens: tokens.subarray(start, start + size), start, blocks: sequence.blocks };
    using step = new Step(device, [{ ...part, ropeBase }], stepOptions(model));
    using hidden = forward(model, step, cache);
    using logits = model.logits(hidden);
    result.set(await logits.read(), start * shape.vocabulary);
    start += size;
  }
  return result;
}
