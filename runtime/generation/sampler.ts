// Choosing the next token from logits, in the order of Hugging Face transformers 4.32: repetition penalty,
// temperature, top-k, top-p, softmax, draw. Equal logits are ordered by id, lowest first.

import { GenerationError } from "./errors.ts";
import { createRandom } from "./random.ts";
import type { SamplingOptions } from "./sampling-options.ts";
import { createScratch, drawFromTop, type Scratch } from "./top-tokens.ts";

export {
  defaultSampling,
  isPlainGreedy,
  parseSamplingOptions,
  type SamplingOptions,
} from "./sampling-options.ts";

export interface Sampler {
  /**
   * @param logits   [vocabulary] f32, read only
   * @param history  prompt and generated ids so far, for the penalties
   * @param allowed  ids from here on are never chosen (padding of the vocabulary)
   * @param mask     bit i % 32 of entry i / 32 is set where id i may be chosen; all by default
   * @returns the chosen id, 0 … allowed − 1
   * @throws GenerationError GENERATION_NOT_FINITE on NaN or +∞, or if every allowed logit is −∞;
   *   GENERATION_OPTION if allowed is not 1 … logits.length
   */
  sample(
    logits: Float32Array,
    history: ArrayLike<number>,
    allowed: number,
    mask?: Int32Array | undefined,
  ): number;
}

/**
 * A sampler: one per request.
 *
 * @param promptLength  how much of the history is the prompt, to which presence and frequency penalties do not apply
 * @param random        what is drawn with, in [0, 1); a sequence of its own by default
 */
export function createSampler(
  options: SamplingOptions,
  promptLength = 0,
  random: () => number = createRandom(options.seed),
): Sampler {
  const isGreedy = options.temperature === 0 || options.topK === 1;
  let scratch = createScratch(0);

  return {
    sample(logits, history, allowed, mask) {
      if (!Number.isInteger(allowed) || allowed < 1 || allowed > logits.length) {
        throw new GenerationError(
          "GENERATION_OPTION",
          `allowed must be an integer from 1 to ${logits.length}, got ${allowed}`,
        );
      }
      if (scratch.scores.length !== allowed) {
        scratch = createScratch(allowed);
      }
      const { scores } = scratch;
      scores.set(logits.subarray(0, allowed));
      penalise(scores, logits, history, options.repetitionPenalty);
      penaliseGenerated(scores, history, promptLength, options);
      if (mask !== undefined) hide(scores, mask);
      const best = argmax(scores);
      return isGreedy ? best : draw(scratch, scores[best] ?? 0, options, random());
    },
  };
}

/** Reads the logits and writes the scores, so that an id counts once however often it occurred. */
function penalise(
  scores: Float32Array,
  logits: Float32Array,
  history: ArrayLike<number>,
  penalty: number,
): void {
  for (let i = 0; penalty !== 1 && i < history.length; i += 1) {
    const id = history[i] ?? -1;
    if (id >= 0 && id < scores.length) {
      const score = logits[id] ?? 0;
      scores[id] = score < 0 ? score * penalty : score / penalty;
    }
  }
}

/** As OpenAI's API describes them: score − presence · [count > 0] − frequency · count. */
function penaliseGenerated(
  scores: Float32Array,
  history: ArrayLike<number>,
  from: number,
  { presencePenalty, frequencyPenalty }: SamplingOptions,
): void {
  if (presencePenalty === 0 && frequencyPenalty === 0) return;
  const seen = new Set<number>();
  for (let i = from; i < history.length; i += 1) {
    const id = history[i] ?? -1;
    if (id < 0 || id >= scores.length) continue;
    scores[id] = (scores[id] ?? 0) - frequencyPenalty - (seen.has(id) ? 0 : presencePenalty);
    seen.add(id);
  }
}

function hide(scores: Float32Array, mask: Int32Array): void {
  for (let id = 0; id < scores.length; id += 1) {
    const bits = mask[id >> 5] ?? 0;
    if (bits === -1) {
      id |= 31;
    } else if (((bits >>> (id & 31)) & 1) === 0 && !Number.isNaN(scores[id])) {
      scores[id] = Number.NEGATIVE_INFINITY;
    }
  }
}

function argmax(scores: Float32Array): number {
  let best = -1;
  let bestScore = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < scores.length; id += 1) {
    const score = scores[id] ?? Number.NaN;
    if (score > bestScore) {
      bestScore = score;
      best = id;
    } else if (Number.isNaN(score)) {
      throw notFinite(`the logit of token ${id} is NaN`);
    }
  }
  if (best < 0) {
    throw notFinite(`all ${scores.length} logits are -Infinity`);
  }
  if (bestScore === Number.POSITIVE_INFINITY) {
    throw notFinite(`the logit of token ${best} is Infinity`);
  }
  return best;
}

/** @param uniform  the random number of this step, in [0, 1) */
function draw(scratch: Scratch, best: number, options: SamplingOptions, uniform: number): number {
  const total = computeWeights(scratch, best, options.temperature);
  const limit = options.topK === 0 ? scratch.scores.length : options.topK;
  const { topP, minP } = options;
  if (limit >= scratch.scores.length && topP === 1) {
    return drawFromAll(scratch.weights, minP, uniform * likelyTotal(scratch.weights, minP, total));
  }
  return drawFromTop(scratch, { limit, topP, minP, total }, uniform);
}

function computeWeights({ scores, weights }: Scratch, best: number, temperature: number): number {
  let total = 0;
  for (let id = 0; id < scores.length; id += 1) {
    const weight = Math.exp(((scores[id] ?? 0) - best) / temperature);
    weights[id] = weight;
    total += weight;
  }
  return total;
}

/** Of the weights that are large enough. */
function likelyTotal(weights: Float64Array, minP: number, total: number): number {
  if (minP === 0) return total;
  let sum = 0;
  for (const weight of weights) if (weight >= minP) sum += weight;
  return sum;
}

/** The most likely token's weight is 1, so minP is a weight too. */
function drawFromAll(weights: Float64Array, minP: number, target: number): number {
  let sum = 0;
  let last = 0;
  for (let id = 0; id < weights.length; id += 1) {
    const weight = weights[id] ?? 0;
    if (weight < minP) continue;
    sum += weight;
    if (weight > 0) {
      last = id;
      if (sum > target) {
        return id;
      }
    }
  }
  return last; // rounding left target at the very end
}

function notFinite(message: string): GenerationError {
  return new GenerationError(
    "GENERATION_NOT_FINITE",
    `cannot sample: ${message}; the model's weights or its computation are broken`,
  );
}
