// Bits by sensitivity: the choice under a budget, and what it is made by.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { allocate, type StorageUnit } from "../../quantizer/allocation.ts";
import { mixBits, parseRecipe, type Recipe } from "../../quantizer/index.ts";
import { openModel } from "../../runtime/index.ts";
import { seeded } from "../support/random.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import {
  bundledSegments,
  quantize,
  tinySegments,
  writeTinyModel,
  writeTwoBlocks,
} from "./quantized.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);

describe("allocate", () => {
  const unit = (name: string, weights: number, scale: number): StorageUnit => ({
    ...{ linears: [name], weights },
    options: [
      { bits: 8, groupSize: 128, cost: 8.1875, divergence: 0.004 * scale },
      { bits: 4, groupSize: 32, cost: 4.625, divergence: 0.75 * scale },
      { bits: 4, groupSize: 128, cost: 4.15625, divergence: scale },
    ],
  });
  const meanCost = (units: readonly StorageUnit[], target: number) => {
    const chosen = allocate(units, target) ?? [];
    const total = units.reduce((sum, { weights }) => sum + weights, 0);
    const spent = units.reduce((sum, { weights }, i) => sum + weights * (chosen[i]?.cost ?? 0), 0);
    return { chosen, mean: spent / total };
  };

  test("spends the budget where it saves most", () => {
    const units = [unit("a", 100, 1), unit("b", 100, 10), unit("c", 100, 0.1)];
    const { chosen, mean } = meanCost(units, 5.66);
    expect(chosen.map(({ bits, groupSize }) => [bits, groupSize])).toEqual([
      [4, 32],
      [8, 128],
      [4, 128],
    ]);
    expect(mean).toBeLessThanOrEqual(5.66);
  });

  test("is within a step of the best choice, on units of any kind", () => {
    const random = seeded(1);
    for (let round = 0; round < 50; round++) {
      const units = Array.from({ length: 6 }, (_, i) =>
        unit(`${i}`, 50 + Math.floor(100 * random()), random() ** 3),
      );
      const target = 4.2 + 3 * random();
      const { chosen, mean } = meanCost(units, target);
      expect(mean).toBeLessThanOrEqual(target + 1e-9);
      const value = chosen.reduce((sum, { divergence }) => sum + divergence, 0);
      const largest = Math.max(...units.map(({ options }) => options[2]?.divergence ?? 0));
      expect(value).toBeLessThanOrEqual(best(units, target) + largest + 1e-12);
    }
  });

  /** By trying everything. */
  function best(units: readonly StorageUnit[], target: number): number {
    const total = units.reduce((sum, { weights }) => sum + weights, 0);
    let least = Number.POSITIVE_INFINITY;
    for (let code = 0; code < 3 ** units.length; code++) {
      const options = units.map(({ options: all }, i) => all[Math.floor(code / 3 ** i) % 3]);
      const cost = units.reduce(
        (sum, { weights }, i) => sum + weights * (options[i]?.cost ?? 0),
        0,
      );
      if (cost > total * target) continue;
      const value = options.reduce((sum, option) => sum + (option?.divergence ?? 0), 0);
      least = Math.min(least, value);
    }
    return least;
  }

  test("never takes an option that costs more and is no better", () => {
    const [option] =
      allocate(
        [
          {
            ...{ linears: ["a"], weights: 1 },
            options: [
              { bits: 4, groupSize: 128, cost: 4.1, divergence: 0.1 },
              { bits: 4, groupSize: 32, cost: 4.6, divergence: 0.2 },
            ],
          },
        ],
        9,
      ) ?? [];
    expect(option?.groupSize).toBe(128);
  });

  test("says when nothing fits", () => {
    expect(allocate([unit("a", 1, 1)], 4)).toBeUndefined();
    expect(allocate([unit("a", 1, 1)], 4.15625)?.[0]?.cost).toBe(4.15625);
  });
});

describe("a recipe with bits by sensitivity", () => {
  const segments = bundledSegments(4, 128);
  beforeAll(() => writeTwoBlocks(at("model")));

  const mix = async (target: number, given: Partial<Recipe> = {}, widths = [4, 8] as const) => {
    using device = openDevice({ threads: 2 });
    const options = { source: at("model"), device, segments, target, widths };
    return await mixBits(parseRecipe(given), options);
  };

  test("keeps to its budget, in the result too", async () => {
    for (const target of [4.2, 4.7, 6]) {
      const { recipe, chosen } = await mix(target);
      expect(chosen).toHaveLength(8);
      using device = openDevice({ threads: 2 });
      const output = at(`mixed-${target}`);
      const { bitsPerWeight } = await quantize({
        ...{ source: at("model"), output, device, segments },
        recipe: { ...recipe, gptaq: 0 },
      });
      expect(bitsPerWeight).toBeLessThanOrEqual(target);
      expect(bitsPerWeight).toBeGreaterThan(target - 0.4);
      using model = openModel(output, device);
      for (let i = 0; i < 2; i++) model.block(i);
    }
  });

  test("keeps linears of a stage together and leaves the recipe's own rules alone", async () => {
    const rules = [{ pattern: "h.0.mlp.c_proj", bits: 8 }] as const;
    const { recipe, chosen } = await mix(4.5, { rules });
    expect(recipe.rules[0]).toEqual(rules[0]);
    const names = chosen.flatMap(({ linears }) => linears);
    expect(names).not.toContain("transformer.h.0.mlp.c_proj");
    const pairs = chosen.filter(({ linears }) => linears.length === 2);
    expect(pairs.map(({ linears }) => linears[0])).toEqual([
      "transformer.h.0.mlp.w1",
      "transformer.h.1.mlp.w1",
    ]);
  });

  test("is the same every time", async () => {
    expect(await mix(4.6)).toEqual(await mix(4.6));
  });

  test("chooses only groups that the inputs divide into", async () => {
    writeTinyModel(at("narrow"));
    const data = tinySegments(6, 40);
    using device = openDevice({ threads: 2 });
    const source = at("narrow");
    const { recipe, chosen } = await mixBits(parseRecipe({}), {
      ...{ source, device, segments: data, target: 6, widths: [4, 8] },
    });
    for (const { groupSize } of chosen) expect([32, 64]).toContain(groupSize);
    const output = at("narrow-mixed");
    await quantize({ source, output, device, segments: data, recipe: { ...recipe, gptaq: 0 } });
  });

  test("refuses a budget that nothing fits in, and names the least", async () => {
    await expect(mix(4.1)).rejects.toThrow("target bpw is 4.1; expected at least 4.157");
  });
});
