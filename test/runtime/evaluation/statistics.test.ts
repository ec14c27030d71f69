// Known values, and what intervals promise: that they hold the truth about 95 times in 100.
import { describe, expect, test } from "vitest";
import {
  bootstrapInterval,
  isNoise,
  mcNemarExact,
  pairedShareInterval,
  wilsonInterval,
} from "../../../runtime/evaluation/statistics.ts";
import { createRandom } from "../../../runtime/index.ts";

describe("Wilson's interval", () => {
  // Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3
  test.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])("%i of %i is as published", (successes, trials, low, high) => {
    const interval = wilsonInterval(successes, trials);
    expect(interval.low).toBeCloseTo(low, 4);
    expect(interval.high).toBeCloseTo(high, 4);
  });

  test("mirrors when right and wrong change places, and narrows with more trials", () => {
    for (const [successes, trials] of [
      [0, 7],
      [3, 10],
      [50, 60],
      [9, 9],
    ] as const) {
      const interval = wilsonInterval(successes, trials);
      const mirrored = wilsonInterval(trials - successes, trials);
      expect(interval.low).toBeCloseTo(1 - mirrored.high, 12);
      const more = wilsonInterval(4 * successes, 4 * trials);
      expect(more.high - more.low).toBeLessThan(interval.high - interval.low);
      expect(interval.low).toBeLessThanOrEqual(successes / trials);
      expect(interval.high).toBeGreaterThanOrEqual(successes / trials);
    }
  });

  test("holds the truth in about 95 of 100 samples", () => {
    const random = createRandom(3);
    const hits = Array.from({ length: 2000 }, () => {
      const successes = Array.from({ length: 50 }, random).filter((x) => x < 0.3).length;
      const { low, high } = wilsonInterval(successes, 50);
      return low <= 0.3 && high >= 0.3;
    }).filter(Boolean).length;
    expect(hits / 2000).toBeGreaterThan(0.93);
    expect(hits / 2000).toBeLessThan(0.97);
  });

  test("needs a trial", () => {
    expect(() => wilsonInterval(0, 0)).toThrow(
      expect.objectContaining({ code: "EVALUATION_TOO_SHORT" }),
    );
  });
});

describe("McNemar's exact test", () => {
  // 2 · Σ C(n, k) / 2ⁿ up to the smaller count, in whole numbers
  test.each([
    [6, 16, 0.052478790283203125],
    [0, 5, 0.0625],
    [1, 12, 0.00341796875],
    [10, 10, 1],
    [0, 0, 1],
  ])("%i against %i", (first, second, expected) => {
    expect(mcNemarExact(first, second)).toBeCloseTo(expected, 12);
    expect(mcNemarExact(second, first)).toBe(mcNemarExact(first, second));
  });

  test("stays a probability for thousands of questions", () => {
    expect(mcNemarExact(7000, 7000)).toBe(1);
    // Normal approximation with continuity correction: z = (200 − 1)/√7800
    expect(mcNemarExact(3800, 4000)).toBeCloseTo(0.02426, 3);
    expect(mcNemarExact(0, 14_000)).toBeGreaterThanOrEqual(0);
  });

  test("calls a true null significant in at most 5 of 100 cases", () => {
    const random = createRandom(5);
    const rejected = Array.from({ length: 2000 }, () => {
      const first = Array.from({ length: 60 }, random).filter((x) => x < 0.5).length;
      return mcNemarExact(first, 60 - first) <= 0.05;
    }).filter(Boolean).length;
    expect(rejected / 2000).toBeLessThan(0.06);
    expect(rejected).toBeGreaterThan(0);
  });
});

describe("the interval of a paired difference of shares", () => {
  test("is Bonett and Price's", () => {
    const { low, high } = pairedShareInterval(6, 16, 100);
    // 7/102 and 17/102 by their formula, in Python
    expect(low).toBeCloseTo(0.00584644233352373, 12);
    expect(high).toBeCloseTo(0.19023198903902527, 12);
  });

  test("changes sign with the order, and never leaves -1 … 1", () => {
    const [one, other] = [pairedShareInterval(3, 9, 40), pairedShareInterval(9, 3, 40)];
    expect(one.low).toBeCloseTo(-other.high, 12);
    expect(pairedShareInterval(0, 2, 2)).toMatchObject({ high: 1 });
  });

  test("holds the true difference in about 95 of 100 samples", () => {
    const random = createRandom(9);
    const hits = Array.from({ length: 2000 }, () => {
      const draws = Array.from({ length: 80 }, random);
      const first = draws.filter((x) => x < 0.1).length;
      const second = draws.filter((x) => x > 0.8).length;
      const { low, high } = pairedShareInterval(first, second, 80);
      return low <= 0.1 && high >= 0.1;
    }).filter(Boolean).length;
    expect(hits / 2000).toBeGreaterThan(0.93);
    expect(hits / 2000).toBeLessThan(0.98);
  });
});

describe("the bootstrap", () => {
  const meanOf = (values: readonly number[]) => (sample: Int32Array) =>
    sample.reduce((sum, i) => sum + (values[i] ?? Number.NaN), 0) / sample.length;

  test("of a mean is that of the central limit theorem", () => {
    const random = createRandom(11);
    const values = Array.from({ length: 400 }, random);
    const mean = values.reduce((a, b) => a + b) / 400;
    const sd = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 400);
    const half = (1.96 * sd) / 20;
    const interval = bootstrapInterval({
      ...{ strata: [400], unit: "items", statistic: meanOf(values) },
    });
    expect(Math.abs(interval.low - (mean - half))).toBeLessThan(0.1 * half);
    expect(Math.abs(interval.high - (mean + half))).toBeLessThan(0.1 * half);
  });

  test("is the same each time", () => {
    const values = Array.from({ length: 30 }, createRandom(1));
    const make = () =>
      bootstrapInterval({ strata: [30], unit: "items", statistic: meanOf(values) });
    expect(make()).toEqual(make());
  });

  test("draws within strata: what only differs between them does not vary", () => {
    const values = [0, 0, 0, 1, 1, 1, 1];
    const statistic = meanOf(values);
    const within = bootstrapInterval({ strata: [3, 4], unit: "items", statistic });
    expect(within).toEqual({ low: 4 / 7, high: 4 / 7 });
    const across = bootstrapInterval({ strata: [7], unit: "items", statistic });
    expect(across.high - across.low).toBeGreaterThan(0.5);
  });

  test("needs two units", () => {
    const one = { strata: [1], unit: "windows", statistic: () => 1 } as const;
    expect(() => bootstrapInterval(one)).toThrow(
      expect.objectContaining({ code: "EVALUATION_TOO_SHORT" }),
    );
  });
});

test.each([
  [-1, 1, null, true],
  [0, 1, null, true],
  [0.1, 1, null, false],
  [-1, -0.1, 0.01, false],
  [0.1, 1, 0.06, true],
])("%f … %f with p %s is noise: %s", (low, high, pValue, expected) => {
  expect(isNoise({ low, high }, pValue)).toBe(expected);
});
