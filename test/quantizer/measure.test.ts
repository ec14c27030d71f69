import { describe, expect, test } from "vitest";
import { openDevice, ops } from "../../kernels/index.ts";
import { HessianSum } from "../../quantizer/hessian.ts";
import { measure } from "../../quantizer/measure.ts";
import { methods } from "../../quantizer/methods/index.ts";
import { parseRecipe, type Recipe } from "../../quantizer/recipe.ts";
import { normal, seeded } from "../support/random.ts";

const recipes: readonly Partial<Recipe>[] = [
  {},
  { bits: 8 },
  { order: "in-order", symmetric: false },
  { order: "act-order", groupSize: 32 },
  { damping: 0.5 },
  { damping: 1e-4 },
];

describe("the loss that follows from the spread errors", () => {
  test.each(recipes)("is tr(Δ H Δᵀ), for %j", async (options) => {
    const [out, n, tokens] = [600, 256, 700];
    const random = seeded(7);
    using device = openDevice({ threads: 2 });
    // Correlated inputs of very different sizes, and one that is never seen.
    const x = normal(tokens * n, random, { heavy: true });
    for (let t = 0; t < tokens; t++) {
      for (let i = 1; i < n; i++) x[t * n + i]! += 0.9 * x[t * n + i - 1]!;
      x[t * n + 40] = 0;
      x[t * n + 99]! *= 30;
    }
    using hessianSum = new HessianSum(device, n, { dtype: "f32", gptaq: 0 });
    const input = device.from("f32", x, [tokens, n]);
    hessianSum.add({ input, hidden: input });
    using hessian = await hessianSum.finish("test");
    if (hessian === undefined) throw new Error("no token");
    const recipe = parseRecipe({ ...options, refine: "none", gptaq: 0 });
    using solver = await methods.gptq.prepare(hessian, recipe);
    const weight = device.from("f32", normal(out * n, random, { scale: 0.02 }), [out, n]);
    ops.zeroColumns(weight, hessian.diagonal);
    const result = solver.quantize(ops.copy(weight), {});
    const codes = await result.codes.read();
    const [scales, zeros] = [await result.scales.read(), await result.zeros.read()];
    const groups = scales.length / out;
    const rounded = Float32Array.from(codes, (code, at) => {
      const group = Math.floor(at / n) * groups + result.groupIndex[at % n]!;
      return scales[group]! * (code - zeros[group]!);
    });
    const quantized = device.from("f32", rounded, [out, n]);
    const exact = await measure(ops.copy(weight), ops.copy(quantized), hessian, {
      ...result,
      spread: undefined,
    });
    const { loss, relativeError } = await measure(weight, quantized, hessian, result);
    expect(result.spread).toBeDefined();
    expect(Math.abs(loss / exact.loss - 1)).toBeLessThan(1e-4);
    expect(Math.abs(relativeError / exact.relativeError - 1)).toBeLessThan(1e-4);
  });
});
