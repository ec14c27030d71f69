// How sure perplexity and KL divergence of a text are. The unit is a window: the tokens of one are not independent.
import type { Score } from "./score.ts";
import { bootstrapInterval, type Interval, isNoise, type PairedDifference } from "./statistics.ts";
import type { Window } from "./windows.ts";

/** Sums of values by window, and the tokens of each. */
type ByWindow = { readonly sums: Float64Array; readonly tokens: Float64Array };

/** @throws EvaluationError EVALUATION_TOO_SHORT for fewer than two windows */
export function perplexityInterval(score: Score, windows: readonly Window[]): Interval {
  const losses = byWindow(score.perToken.losses, windows);
  return bootstrapInterval({
    strata: [windows.length],
    unit: "windows",
    statistic: (sample) => Math.exp(meanOf(losses, sample)),
  });
}

/**
 * Of the perplexity of a model less that of the original, on the same windows: most of what makes windows differ is common to
 * both and drops out.
 *
 * @throws EvaluationError EVALUATION_TOO_SHORT for fewer than two windows
 */
export function perplexityDifference(
  original: Score,
  score: Score,
  windows: readonly Window[],
): PairedDifference {
  const first = byWindow(original.perToken.losses, windows);
  const second = byWindow(score.perToken.losses, windows);
  const interval = bootstrapInterval({
    strata: [windows.length],
    unit: "windows",
    statistic: (sample) => Math.exp(meanOf(second, sample)) - Math.exp(meanOf(first, sample)),
  });
  return {
    value: score.perplexity - original.perplexity,
    ...{ interval, pValue: null, method: "paired bootstrap over windows" },
    isNoise: isNoise(interval, null),
  };
}

/** Of the mean KL divergence; undefined for the original. */
export function divergenceInterval(score: Score, windows: readonly Window[]): Interval | undefined {
  const { divergences } = score.perToken;
  if (divergences === undefined) return undefined;
  const sums = byWindow(divergences, windows);
  return bootstrapInterval({
    strata: [windows.length],
    unit: "windows",
    statistic: (sample) => meanOf(sums, sample),
  });
}

function byWindow(values: Float32Array, windows: readonly Window[]): ByWindow {
  const sums = new Float64Array(windows.length);
  const tokens = new Float64Array(windows.length);
  let at = 0;
  for (const [i, window] of windows.entries()) {
    const count = window.tokens.length - window.firstScored;
    let sum = 0;
    for (const value of values.subarray(at, at + count)) sum += value;
    sums[i] = sum;
    tokens[i] = count;
    at += count;
  }
  return { sums, tokens };
}

function meanOf({ sums, tokens }: ByWindow, sample: Int32Array): number {
  let sum = 0;
  let count = 0;
  for (const window of sample) {
    sum += sums[window] ?? 0;
    count += tokens[window] ?? 0;
  }
  return sum / count;
}
