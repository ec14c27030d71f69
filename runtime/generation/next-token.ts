// What a model thinks of the next token, for those who compare models.
import { ops } from "../../kernels/index.ts";
import type { Model } from "../model/index.ts";
import { PrefixCache } from "./prefix-cache.ts";

export type NextTokenRequest = {
  /** Token ids; at least one. */
  readonly prompt: readonly number[];
  /** Ids that came after it, none at first. The rotary base is that of the prompt's length, as when they were generated. */
  readonly generated: readonly number[];
  readonly signal?: AbortSignal | undefined;
};

const chunkRows = 512;

/**
 * Natural logarithms of every token's probability, over the whole output vocabulary: [vocabulary], of the same logits that
 * `generate` chooses from.
 *
 * @throws KernelError; the signal's reason when aborted
 */
export async function nextLogProbabilities(
  model: Model,
  { prompt, generated, signal }: NextTokenRequest,
): Promise<Float32Array> {
  using cache = new PrefixCache();
  const sequence = cache.sequence(model, prompt, generated.length + 1);
  const tokens = [...prompt, ...generated];
  let start = 0;
  for (; start + chunkRows < tokens.length; start += chunkRows) {
    signal?.throwIfAborted();
    sequence.append(tokens.slice(start, start + chunkRows));
    await sequence.device.sync();
  }
  signal?.throwIfAborted();
  using logits = sequence.advance(tokens.slice(start));
  using logP = ops.logSoftmax(logits);
  return await logP.read();
}
