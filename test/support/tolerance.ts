import { expect } from "vitest";

/** Unit roundoff of f32. */
export const eps: number = 2 ** -24;

/**
 * Bound on the error of a dot product of length k accumulated in f32: c · eps · sqrt(k) · ‖a‖ · ‖b‖. The
 * worst case is k · eps · Σ|a·b|; roundings of random signs give sqrt(k), and c = 4 leaves four standard
 * deviations. Two is added to k for the bias and the final rounding.
 */
export function dotTolerance(k: number, normA: number, normB: number): number {
  return 4 * eps * Math.sqrt(k + 2) * normA * normB + 1e-37;
}

export function norm(values: ArrayLike<number>, start = 0, length: number = values.length): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) sum += (values[i] ?? 0) ** 2;
  return Math.sqrt(sum);
}

/** Every element within its tolerance; NaN and infinities must agree. Reports the first that is not. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number | ((index: number) => number),
  label = "",
): void {
  expect(actual.length, `${label}: length`).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i] ?? Number.NaN;
    const e = expected[i] ?? Number.NaN;
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const allowed = typeof tolerance === "number" ? tolerance : tolerance(i);
    if (!(Math.abs(a - e) <= allowed)) {
      expect.fail(`${label}: element ${i} is ${a}; expected ${e} within ${allowed}`);
    }
  }
}

/** The same bits, element by element. */
export function expectSameBits(
  actual: Float32Array<ArrayBuffer>,
  expected: Float32Array<ArrayBuffer>,
  label = "",
): void {
  expect(actual.length, `${label}: length`).toBe(expected.length);
  const a = new Uint32Array(actual.buffer, actual.byteOffset, actual.length);
  const e = new Uint32Array(expected.buffer, expected.byteOffset, expected.length);
  const index = a.findIndex((bits, i) => bits !== e[i]);
  if (index >= 0) {
    expect.fail(
      `${label}: element ${index} is ${actual[index]}; expected ${expected[index]}, bit for bit`,
    );
  }
}
