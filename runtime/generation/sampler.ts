// Choosing the next token from logits, in the order of Hugging Face transformers 4.32: repetition penalty,
// temperature, top-k, top-p, softmax, draw. Equal logits are ordered by id, lowest first.

import { GenerationError } from "./errors.ts";
import { createRandom } from "./random.ts";
import type { SamplingOptions } from "./sampling-options.ts";
import { createScratch, drawFromTop, type Scratch } from "./top-tokens.ts";

export {
  defaultSampling,
  parseSamplingOptions,
  type SamplingOptions,
} from "./sampling-options.ts";

export interface Sampler {
  /**
   * @param logits  [vocabulary] f32, read only
   * @param history  prompt and generated ids so far, for the repetition penalty
   * @param allowed  ids from here on are never chosen (padding of the vocabulary)
   * @returns the chosen id, 0 … allowed − 1
   * @throws GenerationError GENERATION_NOT_FINITE on NaN or +∞, or if every allowed logit is −∞;
   *   GENERATION_OPTION if allowed is not 1 … logits.length
   */
  sample(logits: Float32Array, history: ArrayLike<number>, allowed: number): number;
}

/** A sampler with its own random sequence: one per request. */
export function createSampler(options: SamplingOptions): Sampler {
  const random = createRandom(options.seed);
  const isGreedy = options.temperature === 0 || options.topK === 1;
  let scratch = createScratch(0);

  return {
    sample(logits, history, allowed) {
      if (!Number.isInteger(allowed) || allowed < 1 || allowed > logits.length) {
        throw new GenerationError(
          "GENERATION_OPTION",
          `allowed must be an integer from 1 to ${logits.length}, got ${allowed}`,
        );
      }
      if (scratch.scores.length !== allowed) {
        scratch = createScratch(allowed);
      }
      scratch.scores.set(logits.subarray(0, allowed));
      penalise(scratch.scores, logits, history, options.repetitionPenalty);
      const best = argmax(scratch.scores);
      return isGreedy ? best : draw(scratch, scratch.scores[best] ?? 0, options, random());
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
  if (limit >= scratch.scores.length && options.topP === 1) {
    return drawFromAll(scratch.weights, uniform * total);
  }
  return drawFromTop(scratch, { limit, topP: options.topP, total }, uniform);
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

function drawFromAll(weights: Float64Array, target: number): number {
  let sum = 0;
  let last = 0;
  for (let id = 0; id < weights.length; id += 1) {
    const weight = weights[id] ?? 0;
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
