// The mathematics of a run: what rounding costs, inputs that never fire, Hessians that cannot be factored.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, type F32, openDevice } from "../../kernels/index.ts";
import { factorHessian, Hessian } from "../../quantizer/hessian.ts";
import { parseRecipe, type QuantizationReport, type Recipe } from "../../quantizer/index.ts";
import { methods } from "../../quantizer/methods/index.ts";
import { openModel } from "../../runtime/index.ts";
import { readGptqCheckpoint } from "../format/independent-decoder.ts";
import { sequenceLogits } from "../support/logits.ts";
import { normal, seeded } from "../support/random.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { norm } from "../support/tolerance.ts";
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

async function run(
  source: string,
  output: string,
  recipe: Partial<Recipe>,
  segments: readonly Int32Array[],
): Promise<QuantizationReport> {
  using device = openDevice({ threads: 2 });
  return await quantize({ source, output: at(output), segments, recipe, device });
}

const totalLoss = ({ linears }: QuantizationReport) =>
  linears.reduce((sum, { loss }) => sum + (loss ?? Number.NaN), 0);

describe("the loss of a layer", () => {
  let segments: readonly Int32Array[] = [];
  beforeAll(() => {
    writeTwoBlocks(at("two-blocks"));
    segments = bundledSegments(8, 128);
  });

  test("is in total less by GPTQ than by rounding to nearest, in any order and any grid", async () => {
    const measured = async (name: string, recipe: Partial<Recipe>) =>
      totalLoss(await run(at("two-blocks"), name, { gptaq: 0, ...recipe }, segments));
    const minMax = { grid: "min-max", signedScales: false, refine: "none" } as const;
    const rounded = await measured("rtn", { ...minMax, method: "rtn" });
    const losses: Record<string, number> = { rounded };
    for (const order of ["in-order", "act-order", "act-order-static"] as const) {
      losses[order] = await measured(order, { ...minMax, order });
      expect(losses[order], order).toBeLessThan(0.75 * rounded);
    }
    losses["asymmetric"] = await measured("asymmetric", { ...minMax, symmetric: false });
    losses["int8"] = await measured("int8", { ...minMax, bits: 8 });
    losses["mse"] = await measured("mse", { ...minMax, grid: "mse" });
    losses["importance"] = await measured("importance", { ...minMax, grid: "importance" });
    losses["mse, dynamic"] = await measured("mse-dynamic", {
      ...{ ...minMax, grid: "mse", order: "act-order" },
    });
    losses["mse, rounded"] = await measured("mse-rtn", { ...minMax, grid: "mse", method: "rtn" });
    losses["signed"] = await measured("signed", { ...minMax, signedScales: true });
    losses["refined"] = await measured("refined", { ...minMax, refine: "codes" });
    losses["all"] = await measured("all", {});
    console.info(`total loss: ${JSON.stringify(losses)}`);
    expect(losses["asymmetric"]).toBeLessThan(rounded);
    expect(losses["mse"]).toBeLessThan(0.95 * (losses["act-order-static"] ?? 0));
    const plain = losses["act-order-static"] ?? 0;
    expect(losses["importance"]).toBeLessThan(0.95 * plain);
    expect(losses["signed"]).toBeLessThan(0.95 * plain);
    expect(losses["refined"]).toBeLessThan(0.95 * plain);
    expect(losses["all"]).toBeLessThan(0.75 * plain);
    expect(losses["mse, dynamic"]).toBeLessThan(losses["act-order"] ?? 0);
    expect(losses["mse, rounded"]).toBeLessThan(rounded);
    // Steps are 255 / 15 times finer, errors that squared smaller.
    expect((losses["act-order-static"] ?? 0) / (losses["int8"] ?? 0)).toBeGreaterThan(
      0.9 * 17 ** 2,
    );
  });
});

/** Input 5 of c_attn, input 6 of attn.c_proj and input 7 of mlp.c_proj of block 0 are always zero. */
const silenced = {
  "transformer.h.0.ln_1.weight": (values: Float32Array) => values.fill(0, 5, 6),
  "transformer.h.0.attn.c_attn.weight": (values: Float32Array) =>
    values.fill(0, (2 * 64 + 6) * 64, (2 * 64 + 7) * 64),
  "transformer.h.0.attn.c_attn.bias": (values: Float32Array) =>
    values.fill(0, 2 * 64 + 6, 2 * 64 + 7),
  "transformer.h.0.mlp.w1.weight": (values: Float32Array) => values.fill(0, 7 * 64, 8 * 64),
};
const deadInput: Readonly<Record<string, number>> = {
  "transformer.h.0.attn.c_attn": 5,
  "transformer.h.0.attn.c_proj": 6,
  "transformer.h.0.mlp.c_proj": 7,
};

describe("an input that no token reaches", () => {
  const recipe = { groupSize: 32, bits: 8 } as const;

  test.each(["act-order-static", "act-order", "in-order"] as const)(
    "is counted, gets weights of 0 and changes nothing else (%s)",
    async (order) => {
      const source = writeTinyModel(at(`silent-${order}`), silenced);
      const output = `dead-${order}`;
      const segments = tinySegments(4, 48);
      const { linears } = await run(source, output, { ...recipe, order }, segments);
      const decoded = readGptqCheckpoint(at(output));
      for (const { name, deadInputs, loss, fallback } of linears) {
        const dead = deadInput[name];
        expect(deadInputs, name).toBe(dead === undefined ? 0 : 1);
        expect(fallback, name).toBeUndefined();
        expect(loss, name).toSatisfy(Number.isFinite);
        const { values, inFeatures } = decoded.decode(name);
        const column = values.filter((_, i) => i % inFeatures === dead);
        expect(column.every((value) => value === 0)).toBe(true);
      }
      using device = openDevice({ threads: 2 });
      using original = openModel(source, device);
      using quantized = openModel(at(output), device);
      const prompt = tinySegments(1, 20)[0]!;
      const expected = await sequenceLogits(original, prompt);
      const actual = await sequenceLogits(quantized, prompt);
      const error = norm(actual.map((value, i) => value - expected[i]!)) / norm(expected);
      expect(error).toBeLessThan(0.02);
    },
  );
});

/** Σ xxᵀ of inputs of which each appears twice, one of them four times. */
function duplicated(device: Device, n: number): Hessian {
  const x = normal(n * n, seeded(9));
  const inputOf = (i: number) => (i < 4 ? 0 : i >> 1);
  const values = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      for (let row = 0; row < n; row++) {
        values[i * n + j]! += (x[row * n + inputOf(i)]! * x[row * n + inputOf(j)]!) / n;
      }
    }
  }
  return hessianOf(device, values, n);
}

function hessianOf(device: Device, values: Float32Array<ArrayBuffer>, n: number): Hessian {
  const diagonal = Float32Array.from({ length: n }, (_, i) => values[i * (n + 1)]!);
  const matrix: F32 = device.from("f32", values, [n, n]);
  return new Hessian({
    ...{ matrix, tokens: n },
    ...{ diagonal: device.from("f32", diagonal), diagonalValues: diagonal },
  });
}

describe("a Hessian that cannot be factored", () => {
  const n = 64;
  const recipe = parseRecipe({ groupSize: 32, damping: 1e-9 });

  test("gets more damping, ten times at a step, and the result says how much", async () => {
    using device = openDevice({ threads: 2 });
    using hessian = duplicated(device, n);
    const damped = await factorHessian(hessian, recipe.damping, undefined);
    const steps = Math.log10((damped?.damping ?? 0) / recipe.damping);
    expect(steps).toBeCloseTo(Math.round(steps));
    expect(steps).toBeGreaterThan(0.5);
    expect(damped?.damping).toBeLessThan(1e-4); // what f32 needs, not the last step
    using solver = await methods.gptq.prepare(hessian, recipe);
    const weight = normal(8 * n, seeded(10));
    const result = solver.quantize(device.from("f32", weight, [8, n]));
    expect(result).toMatchObject({
      method: "gptq",
      fallback: expect.stringContaining(String(recipe.damping)),
    });
    expect(result.damping).toBeGreaterThan(recipe.damping);
    const scales = await result.scales.read();
    expect(scales.every((scale) => scale !== 0 && Number.isFinite(scale))).toBe(true);
  });

  test("at any damping is replaced by rounding to nearest, and the result says so", async () => {
    using device = openDevice({ threads: 2 });
    // Correlations above 1, as no data gives them.
    const values = Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 10));
    using hessian = hessianOf(device, values, n);
    expect(await factorHessian(hessian, 0.01, undefined)).toBeUndefined();
    const weight = normal(8 * n, seeded(11));
    using solver = await methods.gptq.prepare(hessian, recipe);
    const result = solver.quantize(device.from("f32", weight, [8, n]));
    expect(result).toMatchObject({
      method: "rtn",
      fallback: expect.stringContaining("not positive definite"),
    });
    using rtn = await methods.rtn.prepare(undefined, recipe);
    const rounded = rtn.quantize(device.from("f32", weight, [8, n]));
    expect(await result.codes.read()).toEqual(await rounded.codes.read());
  });

  test("because there are fewer tokens than inputs still gives a model, and the report says how", async () => {
    const source = writeTinyModel(at("few-tokens"));
    const { linears } = await run(source, "singular", { groupSize: 32, damping: 1e-9 }, [
      Int32Array.of(1, 2, 3),
    ]);
    const helped = linears.filter(({ fallback }) => fallback !== undefined);
    expect(helped.length).toBeGreaterThan(0);
    for (const { damping, method } of helped) {
      expect(method === "rtn" || damping > 1e-9).toBe(true);
    }
    using device = openDevice({ threads: 2 });
    using model = openModel(at("singular"), device);
    const logits = await sequenceLogits(model, Int32Array.of(1, 2, 3, 4));
    expect(logits.every((value) => Number.isFinite(value))).toBe(true);
  });
});
