// What a run refuses, and that it then leaves nothing that could be taken for a result.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { parseRecipe, type QuantizationReport, type Recipe } from "../../quantizer/index.ts";
import { openModel } from "../../runtime/index.ts";
import { sequenceLogits } from "../support/logits.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { quantize, type TensorEdits, tinySegments, writeTinyModel } from "./quantized.ts";

const work = temporaryDirectory();
afterAll(work.remove);
let outputs = 0;
/** An output directory that no test has used. */
const fresh = () => at(`out-${outputs++}`);
const at = (name: string) => join(work.path, name);
const source = at("tiny");
const segments = tinySegments(4, 32);

type Run = {
  readonly source?: string;
  readonly output: string;
  readonly recipe?: Partial<Recipe>;
  readonly segments?: readonly Int32Array[];
  readonly overwrite?: boolean;
  readonly onExisting?: "refuse";
  readonly signal?: AbortSignal;
  onProgress?(progress: { readonly fraction: number }): void;
};

async function run(options: Run): Promise<QuantizationReport> {
  using device = openDevice({ threads: 2 });
  const recipe = { groupSize: 32, ...options.recipe } as const;
  return await quantize({ source, segments, device, ...options, recipe });
}

/** A source with some values changed. */
function edited(name: string, edits: TensorEdits): string {
  return writeTinyModel(at(name), edits);
}

/** The error of that class and code whose message names something. */
const error = (name: string, code: string, named: string) => ({
  name,
  code,
  message: expect.stringContaining(named),
});

beforeAll(() => {
  writeTinyModel(source);
});

describe("a run", () => {
  test("refuses a source that is quantized already", async () => {
    const first = at("quantized");
    await run({ output: first });
    const second = run({ source: first, output: at("twice") });
    await expect(second).rejects.toMatchObject({ name: "QuantizeError", code: "QUANTIZE_SOURCE" });
    expect(existsSync(at("twice"))).toBe(false);
  });

  test.each([
    { what: "the source", output: () => source },
    { what: "a new directory inside the source", output: () => join(source, "int4") },
    {
      what: "a new directory deep inside the source",
      output: () => join(source, "a", "b", "int4"),
    },
    { what: "an old directory inside the source", output: () => join(source, "old") },
    { what: "a link to the source", output: () => at("link") },
    { what: "a new directory behind a link to the source", output: () => join(at("link"), "new") },
    { what: "a directory with files in it", output: () => at("in-use") },
    { what: "a file", output: () => at("file") },
    { what: "a directory below a file", output: () => join(at("file"), "int4") },
  ])("refuses $what as output, and says so before anything is written", async ({ output }) => {
    mkdirSync(join(source, "old"), { recursive: true });
    mkdirSync(at("in-use"), { recursive: true });
    writeFileSync(at("file"), "");
    writeFileSync(join(at("in-use"), "notes.txt"), "mine");
    if (!existsSync(at("link"))) symlinkSync(source, at("link"));
    for (const overwrite of output() === at("in-use") ? [false] : [false, true]) {
      await expect(run({ output: output(), overwrite })).rejects.toMatchObject(
        error("QuantizeError", "QUANTIZE_OUTPUT", output()),
      );
    }
    expect(readdirSync(source).sort()).toEqual(["config.json", "model.safetensors", "old"]);
    expect(readdirSync(join(source, "old"))).toEqual([]);
    expect(readdirSync(at("in-use"))).toEqual(["notes.txt"]);
  });

  test.each([
    { what: "a token as large as the vocabulary", ids: [Int32Array.of(1, 128)], names: "128" },
    { what: "a negative token", ids: [Int32Array.of(1, 2), Int32Array.of(-1)], names: "-1" },
    { what: "no segments", ids: [], names: "calibration" },
    { what: "segments without a token", ids: [new Int32Array()], names: "calibration" },
  ])("refuses $what as calibration data", async ({ ids, names }) => {
    const output = fresh();
    await expect(run({ output, segments: ids })).rejects.toMatchObject(
      error("QuantizeError", "QUANTIZE_SOURCE", names),
    );
    expect(existsSync(output)).toBe(false);
  });

  test("refuses a group size that a linear's inputs do not divide into, and names the linear", async () => {
    const output = fresh();
    await expect(run({ output, recipe: { groupSize: 128 } })).rejects.toMatchObject(
      error("CheckpointError", "CHECKPOINT_UNSUPPORTED", "transformer.h.0.attn.c_attn"),
    );
    expect(existsSync(output)).toBe(false);
  });

  test.each([
    ["method", { method: "awq" }],
    ["bits", { bits: 5 }],
    ["group size", { groupSize: 96 }],
    ["order", { order: "random" }],
    ["dtype", { dtype: "f32" }],
    ["compat", { compat: "gguf" }],
    ["damping", { damping: 0 }],
    ["damping", { damping: 1.5 }],
    ["damping", { damping: Number.NaN }],
    ["shard size", { maxShardBytes: 0 }],
    ["shard size", { maxShardBytes: 1.5 }],
    ["order", { method: "rtn", order: "act-order" }],
    ["refine", { refine: "all" }],
    ["refine", { refine: "codes", method: "rtn" }],
    ["refine", { refine: "scales", compat: "autogptq" }],
    ["gptaq", { gptaq: 1.5 }],
    ["gptaq", { gptaq: 1, method: "rtn" }],
    ["grid", { grid: "importance", method: "rtn" }],
    ["grid", { grid: "mse", compat: "autogptq" }],
    ["signed scales", { signedScales: true, symmetric: false }],
  ])("refuses a recipe with a wrong %s: %j", (option, recipe) => {
    expect(() => parseRecipe(recipe as Partial<Recipe>)).toThrow(
      expect.objectContaining(error("RecipeError", "RECIPE_OPTION", option)),
    );
  });
});

const set = (value: number) => (values: Float32Array) => {
  values[7] = value;
};

describe("a broken source", () => {
  test.each([
    { tensor: "transformer.h.1.mlp.w1.weight", value: Number.NaN },
    { tensor: "transformer.h.0.attn.c_proj.weight", value: Number.POSITIVE_INFINITY },
    { tensor: "transformer.h.1.attn.c_attn.bias", value: Number.NaN },
    { tensor: "transformer.h.0.ln_2.weight", value: Number.NEGATIVE_INFINITY },
    { tensor: "transformer.wte.weight", value: Number.NaN },
    { tensor: "lm_head.weight", value: Number.NaN },
  ])("with $value in $tensor stops the run, is named, and leaves nothing", async (broken) => {
    const { tensor, value } = broken;
    const dir = edited(`broken-${tensor}`, { [tensor]: set(value) });
    const recipes = [{}, { dtype: "bf16" }, { method: "rtn" }] as const;
    for (const recipe of recipes) {
      const ids = "method" in recipe ? [] : segments;
      const output = fresh();
      await expect(run({ source: dir, output, recipe, segments: ids })).rejects.toMatchObject(
        error("QuantizeError", "QUANTIZE_NOT_FINITE", tensor),
      );
      expect(existsSync(output)).toBe(false);
    }
  });

  test("whose activations overflow stops the run at the layer that sees them", async () => {
    const dir = edited("overflow", {
      "transformer.h.1.ln_1.weight": (values) => values.fill(3e38),
    });
    const output = fresh();
    await expect(run({ source: dir, output })).rejects.toMatchObject(
      error("QuantizeError", "QUANTIZE_NOT_FINITE", "transformer.h.1 attn.c_attn"),
    );
    expect(existsSync(output)).toBe(false);
  });

  test("whose scales exceed binary16 stops the run unless they are stored as bf16", async () => {
    const dir = edited("scales", { "transformer.h.1.mlp.w2.weight": set(1e6) });
    const output = fresh();
    await expect(run({ source: dir, output })).rejects.toMatchObject(
      error("QuantizeError", "QUANTIZE_OVERFLOW", "transformer.h.1.mlp.w2"),
    );
    expect(existsSync(output)).toBe(false);
    const { linears } = await run({ source: dir, output: at("wide"), recipe: { dtype: "bf16" } });
    expect(linears.every(({ loss }) => Number.isFinite(loss))).toBe(true);
  });

  test("with values that binary16 cannot hold has them counted under their tensor's name", async () => {
    const dir = edited("conversions", {
      "transformer.wte.weight": (values) => values.set([1e5, -1e5, 1e-8]),
      "transformer.h.1.attn.c_attn.bias": (values) => values.set([1e-9, 1e-9]),
    });
    const report = await run({ source: dir, output: at("converted") });
    const lost = report.conversions;
    expect(lost.find(({ name }) => name === "transformer.wte.weight")).toMatchObject({
      overflowed: 2,
    });
    expect(lost.map(({ name }) => name)).toEqual([
      "transformer.wte.weight",
      "transformer.h.1.attn.c_attn.bias",
    ]);
    const written = JSON.parse(readFileSync(join(at("converted"), "report.json"), "utf8"));
    expect(written.conversions).toEqual(lost);
    const wide = await run({ source: dir, output: at("kept"), recipe: { dtype: "bf16" } });
    expect(wide.conversions).toEqual([]);
  });
});

async function tinyLogits(dir: string): Promise<Float32Array> {
  using device = openDevice({ threads: 2 });
  using model = openModel(dir, device);
  return await sequenceLogits(model, Int32Array.of(1, 2, 3, 4, 5));
}

describe("an aborted run", () => {
  test.each([0, 0.25, 0.6])(
    "that keeps no journal leaves nothing, stopped at %d of the way",
    async (share) => {
      const controller = new AbortController();
      const stopped = run({
        output: at("aborted"),
        onExisting: "refuse",
        signal: controller.signal,
        onProgress: ({ fraction }) => {
          if (fraction >= share) controller.abort(new Error("enough"));
        },
      });
      await expect(stopped).rejects.toThrow("enough");
      expect(existsSync(at("aborted"))).toBe(false);
    },
  );

  test("keeps an empty directory that was there, and nothing in it", async () => {
    mkdirSync(at("empty"));
    const stopped = run({ output: at("empty"), signal: AbortSignal.abort(new Error("enough")) });
    await expect(stopped).rejects.toThrow("enough");
    expect(readdirSync(at("empty"))).toEqual([]);
  });

  test("that was to overwrite a result leaves that result whole", async () => {
    const output = at("kept-result");
    await run({ output, recipe: { maxShardBytes: 20_000 } });
    const files = readdirSync(output).sort();
    const before = await tinyLogits(output);
    const broken = edited("broken-late", { "transformer.h.1.mlp.c_proj.weight": set(Number.NaN) });
    const failed = run({ source: broken, output, overwrite: true, recipe: { bits: 8 } });
    await expect(failed).rejects.toMatchObject({ code: "QUANTIZE_NOT_FINITE" });
    expect(readdirSync(output).sort()).toEqual(files);
    expect(await tinyLogits(output)).toEqual(before);
  });
});
