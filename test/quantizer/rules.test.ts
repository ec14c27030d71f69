// Recipes that set single linears apart: what is written, and that it is read back as the model that was made.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import {
  convertModel,
  hasInterruptedRun,
  parseRecipe,
  type QuantizationReport,
  type Recipe,
  type RecipeRule,
} from "../../quantizer/index.ts";
import { checkLoaders, inspectCheckpoint, openModel } from "../../runtime/index.ts";
import { sequenceLogits } from "../support/logits.ts";
import { integers, seeded } from "../support/random.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { expectSameBits } from "../support/tolerance.ts";
import { quantize, tinySegments, writeTinyModel } from "./quantized.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);
const json = (name: string, file: string) => JSON.parse(readFileSync(join(at(name), file), "utf8"));
const weights = (name: string) => readFileSync(join(at(name), "model.safetensors"));

beforeAll(() => {
  writeTinyModel(at("source"));
});

const mixed: readonly RecipeRule[] = [
  { pattern: "h.1.attn.c_proj", skip: true },
  { pattern: "mlp.c_proj", bits: 8 },
  { pattern: "h.0.*", bits: 8, groupSize: -1 },
];

async function run(
  name: string,
  recipe: Partial<Recipe>,
  options: { readonly stopAt?: number; readonly onResume?: (pieces: number) => void } = {},
): Promise<QuantizationReport> {
  using device = openDevice({ threads: 1 });
  const stop = new AbortController();
  return await quantize({
    ...{ source: at("source"), output: at(name), device, segments: tinySegments(4, 32) },
    recipe: { groupSize: 32, ...recipe },
    signal: stop.signal,
    onProgress: ({ fraction }) => {
      if (options.stopAt !== undefined && fraction >= options.stopAt) stop.abort();
    },
    ...(options.onResume === undefined ? {} : { onResume: options.onResume }),
  });
}

async function logitsOf(name: string): Promise<Float32Array<ArrayBuffer>> {
  using device = openDevice({ threads: 1 });
  using model = openModel(at(name), device);
  return await sequenceLogits(model, integers(20, 128, seeded(6)));
}

describe("a mixed result", () => {
  let report: QuantizationReport | undefined;
  beforeAll(async () => {
    report = await run("mixed", { rules: mixed });
  });

  test("declares its rules in GPTQModel's form, in both configs", () => {
    const { dynamic } = json("mixed", "quantize_config.json");
    expect(Object.entries(dynamic)).toEqual([
      ["-:(^|.*\\.)h\\.1\\.attn\\.c_proj$", {}],
      ["+:(^|.*\\.)mlp\\.c_proj$", { bits: 8, group_size: 32 }],
      ["+:(^|.*\\.)h\\.0\\..*$", { bits: 8, group_size: -1 }],
    ]);
    expect(json("mixed", "config.json").quantization_config.dynamic).toEqual(dynamic);
    expect(json("mixed", "quantize_config.json").modules_in_block_to_quantize).toBeUndefined();
  });

  test("holds each linear as its rule says", () => {
    const stored = new Map(
      inspectCheckpoint(at("mixed")).tensors.map(({ name, dtype, shape }) => [
        name,
        { dtype, shape },
      ]),
    );
    const block = "transformer.h";
    expect(stored.get(`${block}.0.attn.c_attn.qweight`)?.shape[0]).toBe((64 * 8) / 32);
    expect(stored.get(`${block}.0.attn.c_attn.scales`)?.shape[0]).toBe(1);
    expect(stored.get(`${block}.0.mlp.c_proj.scales`)?.shape[0]).toBeGreaterThan(1);
    expect(stored.get(`${block}.1.attn.c_attn.qweight`)?.shape[0]).toBe((64 * 4) / 32);
    expect(stored.get(`${block}.1.attn.c_proj.weight`)).toEqual({ dtype: "F16", shape: [64, 64] });
    expect(stored.has(`${block}.1.attn.c_proj.qweight`)).toBe(false);
    expect(stored.has(`${block}.1.attn.c_proj.bias`)).toBe(false);
  });

  test("is complete, and inspected as what it is", () => {
    const { missing, unexpected, misshapen, quantization } = inspectCheckpoint(at("mixed"));
    expect({ missing, unexpected, misshapen }).toEqual({
      ...{ missing: [], unexpected: [], misshapen: [] },
    });
    expect(quantization?.linears).toBe(9);
    expect(quantization?.schemes).toEqual([
      { bits: 8, groupSize: -1, linears: 4 },
      { bits: 4, groupSize: 32, linears: 3 },
      { bits: 8, groupSize: 32, linears: 2 },
    ]);
    expect(quantization?.bitsPerWeight).toBeCloseTo(report?.bitsPerWeight ?? 0, 10);
  });

  test("is reported linear by linear, without the one that was skipped", () => {
    const schemes = report?.linears.map(
      ({ name, bits, groupSize }) => `${name} ${bits} ${groupSize}`,
    );
    expect(schemes).toHaveLength(9);
    expect(schemes).toContain("transformer.h.0.attn.c_attn 8 -1");
    expect(schemes).toContain("transformer.h.1.mlp.c_proj 8 32");
    expect(schemes).toContain("transformer.h.1.mlp.w1 4 32");
  });

  test("loads as the float model that its codes stand for, with the same logits", async () => {
    using device = openDevice({ threads: 1 });
    const dequantize = { to: "dequantized", dtype: "f32" } as const;
    await convertModel({
      ...{
        source: at("mixed"),
        output: at("floats"),
        target: dequantize,
        maxShardBytes: 1e9,
        device,
      },
    });
    // Products with packed weights sum in another order.
    const [a, b] = [await logitsOf("mixed"), await logitsOf("floats")];
    // The packed model rounds activations to 16 bits.
    const tolerance = 1e-4 * Math.max(...b.map(Math.abs));
    for (const [i, value] of b.entries()) {
      expect(Math.abs((a[i] ?? Number.NaN) - value)).toBeLessThan(tolerance);
    }
  });

  test("comes back from the other format byte for byte", async () => {
    using device = openDevice({ threads: 1 });
    const common = { maxShardBytes: 1e9, device } as const;
    const to = (format: "gptq" | "gptq_v2") => ({ to: "format", format }) as const;
    await convertModel({ ...common, source: at("mixed"), output: at("v2"), target: to("gptq_v2") });
    await convertModel({ ...common, source: at("v2"), output: at("v1"), target: to("gptq") });
    expect(weights("v2")).not.toEqual(weights("mixed"));
    expectSameBits(await logitsOf("v2"), await logitsOf("mixed"));
    expect(weights("v1")).toEqual(weights("mixed"));
  });

  test("is a limit of AutoGPTQ's, and no defect for the others", () => {
    const findings = checkLoaders(at("mixed")).verdicts.map(({ loader, findings: all }) => ({
      loader,
      rules: all.filter(({ kind }) => kind !== "advice").map(({ id }) => id),
    }));
    // Of the tiny model's extents, which no kernel tile fits, nothing is said without desc_act.
    expect(findings.find(({ loader }) => loader === "autogptq")?.rules).toEqual([
      "all-linears-packed",
      "one-scheme",
    ]);
    expect(findings.find(({ loader }) => loader === "vllm")?.rules).toEqual([]);
    expect(findings.find(({ loader }) => loader === "transformers")?.rules).toEqual([]);
  });
});

test.each([0.1, 0.3, 0.6, 0.85])(
  "a mixed run that is interrupted after %d of the way ends with the same bytes",
  async (stopAt) => {
    const name = `stopped-${stopAt}`;
    await expect(run(name, { rules: mixed }, { stopAt })).rejects.toThrow();
    expect(hasInterruptedRun(at(name))).toBe(true);
    let resumed = 0;
    await run(name, { rules: mixed }, { onResume: (pieces) => (resumed = pieces) });
    expect(resumed).toBeGreaterThan(0);
    await run(`${name}-whole`, { rules: mixed });
    expect(weights(name)).toEqual(weights(`${name}-whole`));
    expect(json(name, "config.json")).toEqual(json(`${name}-whole`, "config.json"));
  },
);

test("a part that is skipped in every block is left out of modules_in_block_to_quantize", async () => {
  await run("no-attention", { rules: [{ pattern: "attn.*", skip: true }] });
  const config = json("no-attention", "quantize_config.json");
  expect(config.modules_in_block_to_quantize).toEqual([["mlp.w1", "mlp.w2"], ["mlp.c_proj"]]);
  expect(Object.keys(config.dynamic)).toEqual(["-:(^|.*\\.)attn\\..*$"]);
});

test("w1 and w2 that are set apart together are so for vLLM's fused module too", async () => {
  await run("fused", { rules: [{ pattern: "h.0.mlp.w?", bits: 8 }] });
  const { dynamic } = json("fused", "quantize_config.json");
  expect(dynamic["+:transformer\\.h\\.0\\.mlp\\.gate_up_proj$"]).toEqual({
    bits: 8,
    group_size: 32,
  });
  await run("apart", { rules: [{ pattern: "mlp.w1", bits: 8 }] });
  const limits = (name: string) =>
    checkLoaders(at(name)).verdicts.flatMap(({ loader, findings }) =>
      loader === "vllm" ? findings.filter(({ kind }) => kind === "limit").map(({ id }) => id) : [],
    );
  expect(limits("fused")).toEqual([]);
  expect(limits("apart")).toEqual(["fused-settings"]);
});

test("a skipped linear with a NaN stops the run, by its name", async () => {
  const name = "transformer.h.1.attn.c_proj.weight";
  const source = writeTinyModel(at("nan-source"), { [name]: (w) => w.fill(Number.NaN, 5, 6) });
  using device = openDevice({ threads: 1 });
  const failed = quantize({
    ...{ source, output: at("nan"), device, segments: tinySegments(4, 32) },
    recipe: { groupSize: 32, rules: mixed },
  });
  await expect(failed).rejects.toMatchObject({ code: "QUANTIZE_NOT_FINITE" });
  await expect(failed).rejects.toThrow(name);
  expect(existsSync(at("nan"))).toBe(false);
});

test("a recipe without rules declares none", async () => {
  await run("plain", {});
  expect(json("plain", "quantize_config.json").dynamic).toBeUndefined();
});

describe("a rule", () => {
  test.each<readonly [string, readonly RecipeRule[]]>([
    ["that matches no linear", [{ pattern: "h.9.*", bits: 8 }]],
    ["that begins in the middle of a part", [{ pattern: "_proj", bits: 8 }]],
    [
      "that earlier ones leave nothing",
      [
        { pattern: "mlp.*", skip: true },
        { pattern: "mlp.w1", bits: 8 },
      ],
    ],
    ["that skips everything", [{ pattern: "*", skip: true }]],
  ])("%s is refused before anything is written", async (_, rules) => {
    await expect(run("refused", { rules })).rejects.toMatchObject({
      ...{ name: "RecipeError", code: "RECIPE_OPTION" },
    });
    expect(existsSync(at("refused"))).toBe(false);
  });

  test.each(["", "a b", "(a|b)", "*.*.*.c_proj", "h.[01].mlp"])(
    "cannot have pattern %j",
    (pattern) => {
      expect(() => parseRecipe({ rules: [{ pattern, bits: 8 }] })).toThrowError(
        expect.objectContaining({ name: "RecipeError", code: "RECIPE_OPTION" }),
      );
    },
  );
});
