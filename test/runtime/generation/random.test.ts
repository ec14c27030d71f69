import { describe, expect, it } from "vitest";
import { createRandom } from "../../../runtime/generation/random.ts";

const take = (seed: number, count: number): number[] => {
  const random = createRandom(seed);
  return Array.from({ length: count }, random);
};

describe("createRandom", () => {
  it("repeats the same sequence for the same seed", () => {
    expect(take(42, 100)).toEqual(take(42, 100));
  });

  it("gives unrelated sequences for seeds that differ in any bit", () => {
    const seeds = [0, 1, 2, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 52, Number.MAX_SAFE_INTEGER];
    expect(new Set(seeds.map((seed) => take(seed, 3).join())).size).toBe(seeds.length);
  });

  it("fills [0, 1) evenly", () => {
    const buckets = new Uint32Array(64);
    for (const value of take(7, 64_000)) {
      expect(value >= 0 && value < 1).toBe(true);
      buckets[Math.floor(value * 64)]! += 1;
    }
    const chiSquare = buckets.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chiSquare).toBeLessThan(110); // 63 degrees of freedom: beyond with probability 0.0002
  });
});
