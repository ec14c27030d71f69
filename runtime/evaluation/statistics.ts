// How sure a figure is. Everything is at 95 % confidence and comes out the same each time: resampling has a fixed seed.
import { createRandom } from "../generation/index.ts";
import { EvaluationError } from "./errors.ts";

/** Bounds of 95 % confidence. */
export type Interval = { readonly low: number; readonly high: number };

/** Of a second set of figures less the first, both of the same units. */
export type PairedDifference = {
  readonly value: number;
  readonly interval: Interval;
  /** Of no difference; null where only an interval was made. */
  readonly pValue: number | null;
  readonly method: string;
  /** Whether chance explains it. */
  readonly isNoise: boolean;
};

/** What is drawn anew, with replacement, in each resample. */
export type Resampling = {
  /** Units of each stratum, numbered through; a resample has as many of each. One stratum where all are alike. */
  readonly strata: readonly number[];
  /** What the units are, for an error. */
  readonly unit: "items" | "windows";
  /** @param sample  numbers of units, some of them repeatedly */
  statistic(sample: Int32Array): number;
};

/** 97.5 % quantile of the normal distribution. */
const z = 1.959963984540054;
const resamples = 2000;
const seed = 20231206;
const significance = 0.05;

/**
 * Of a share of `trials`, of which `successes` succeeded.
 *
 * @see Wilson, Probable inference, the law of succession, and statistical inference (1927)
 */
export function wilsonInterval(successes: number, trials: number): Interval {
  requireUnits(trials, 1, "items");
  const share = successes / trials;
  const scale = 1 + z ** 2 / trials;
  const middle = (share + z ** 2 / (2 * trials)) / scale;
  const half = (z * Math.sqrt((share * (1 - share)) / trials + z ** 2 / (4 * trials ** 2))) / scale;
  // Exact at the ends, where rounding would leave the bound a hair inside.
  const low = successes === 0 ? 0 : middle - half;
  const high = successes === trials ? 1 : middle + half;
  return { low, high };
}

/**
 * The middle 95 % of a statistic over resamples of its units.
 *
 * @throws EvaluationError EVALUATION_TOO_SHORT for fewer than two units, which vary in no way
 * @see Efron & Tibshirani, An introduction to the bootstrap (1993), chapter 13
 */
export function bootstrapInterval({ strata, unit, statistic }: Resampling): Interval {
  const units = strata.reduce((sum, size) => sum + size, 0);
  requireUnits(units, 2, unit);
  const random = createRandom(seed);
  const sample = new Int32Array(units);
  const values = new Float64Array(resamples);
  for (let i = 0; i < resamples; i++) {
    let first = 0;
    for (const size of strata) {
      for (let k = 0; k < size; k++) sample[first + k] = first + Math.floor(random() * size);
      first += size;
    }
    values[i] = statistic(sample);
  }
  values.sort();
  return { low: quantile(values, 0.025), high: quantile(values, 0.975) };
}

/**
 * The chance that two sets of right and wrong answers to the same questions differ as much as they do, or more, if each question on
 * which they disagree were as likely to go either way.
 *
 * @param onlyFirst  questions that only the first has right
 * @see McNemar (1947); the exact test is a sign test on the questions where they disagree
 */
export function mcNemarExact(onlyFirst: number, onlySecond: number): number {
  const trials = onlyFirst + onlySecond;
  let logTerm = -trials * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= Math.min(onlyFirst, onlySecond); k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((trials - k) / (k + 1));
  }
  return Math.min(1, 2 * tail);
}

/**
 * Of the difference of two shares of the same `trials`.
 *
 * @see Bonett & Price, Adjusted Wald confidence interval for a difference of binomial proportions based on paired data (2012)
 */
export function pairedShareInterval(
  onlyFirst: number,
  onlySecond: number,
  trials: number,
): Interval {
  requireUnits(trials, 1, "items");
  const first = (onlyFirst + 1) / (trials + 2);
  const second = (onlySecond + 1) / (trials + 2);
  const difference = second - first;
  const half = z * Math.sqrt((first + second - difference ** 2) / (trials + 2));
  return { low: Math.max(-1, difference - half), high: Math.min(1, difference + half) };
}

/** Whether chance explains a difference: its interval holds 0, or no difference has a chance above 5 %. */
export function isNoise({ low, high }: Interval, pValue: number | null): boolean {
  return (low <= 0 && high >= 0) || (pValue !== null && pValue > significance);
}

function requireUnits(units: number, least: number, what: string): void {
  if (units >= least) return;
  throw new EvaluationError(
    "EVALUATION_TOO_SHORT",
    `too few ${what} to tell how sure a figure is: ${units}; it takes at least ${least}`,
  );
}

/** Between the two values beside it, of values in order. */
function quantile(values: Float64Array, share: number): number {
  const at = share * (values.length - 1);
  const below = Math.floor(at);
  const low = values[below] ?? Number.NaN;
  const high = values[Math.min(below + 1, values.length - 1)] ?? Number.NaN;
  return low + (high - low) * (at - below);
}
