import { expect, test } from "vitest";
import {
  createRandom,
  divergenceInterval,
  perplexityDifference,
  perplexityInterval,
  type Score,
  type Window,
} from "../../../runtime/index.ts";

const windows: readonly Window[] = Array.from({ length: 60 }, () => {
  return { tokens: new Int32Array(21), firstScored: 1 };
});

function scoreOf(losses: Float32Array, divergences?: Float32Array): Score {
  const loss = losses.reduce((a, b) => a + b) / losses.length;
  return {
    ...{ tokens: losses.length, loss, perplexity: Math.exp(loss), divergence: undefined },
    perToken: { losses, divergences },
  };
}

/** Windows differ much more than a model's loss from another's. */
const random = createRandom(2);
const levels = Array.from({ length: 60 }, () => 2 + random());
const first = scoreOf(Float32Array.from({ length: 1200 }, (_, i) => levels[Math.floor(i / 20)]!));
const worse = scoreOf(
  first.perToken.losses.map((loss) => loss + 0.02 * random()),
  Float32Array.from({ length: 1200 }, () => 0.01 + 0.001 * random()),
);

test("a perplexity lies in its interval, which is as wide as windows differ", () => {
  const { low, high } = perplexityInterval(first, windows);
  expect(low).toBeLessThan(first.perplexity);
  expect(high).toBeGreaterThan(first.perplexity);
  // Uniform levels have a deviation of 0.289; 60 windows leave 0.0373 of it in the mean loss.
  expect(Math.log(high / low)).toBeCloseTo(2 * 1.96 * 0.0373, 1);
});

test("paired on windows, a difference shows that is far below what windows differ", () => {
  const difference = perplexityDifference(first, worse, windows);
  expect(difference.value).toBeCloseTo(worse.perplexity - first.perplexity, 12);
  expect(difference).toMatchObject({ isNoise: false, pValue: null });
  const alone = perplexityInterval(first, windows);
  const width = difference.interval.high - difference.interval.low;
  expect(width).toBeLessThan((alone.high - alone.low) / 10);
});

test("a model against itself is noise, with nothing in between", () => {
  const same = perplexityDifference(first, first, windows);
  expect(same).toMatchObject({ value: 0, interval: { low: 0, high: 0 }, isNoise: true });
});

test("windows of other sizes count by their tokens", () => {
  const uneven = [
    { tokens: new Int32Array(101), firstScored: 1 },
    { tokens: new Int32Array(3), firstScored: 1 },
  ];
  const losses = Float32Array.from({ length: 102 }, (_, i) => (i < 100 ? 1 : 5));
  const { low, high } = perplexityInterval(scoreOf(losses), uneven);
  expect(low).toBeCloseTo(Math.E, 5);
  expect(high).toBeCloseTo(Math.exp(5), 3);
});

test("the original has no divergence; others' mean lies in its interval", () => {
  expect(divergenceInterval(first, windows)).toBeUndefined();
  const interval = divergenceInterval(worse, windows);
  expect(interval?.low).toBeGreaterThan(0.0104);
  expect(interval?.high).toBeLessThan(0.0106);
});

test("one window tells nothing of how sure a figure is", () => {
  const one = windows.slice(0, 1);
  const score = scoreOf(first.perToken.losses.slice(0, 20));
  expect(() => perplexityInterval(score, one)).toThrow(
    expect.objectContaining({ code: "EVALUATION_TOO_SHORT" }),
  );
});
