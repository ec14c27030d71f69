// What a run leaves behind: files, what they say, and that they are the model that was made.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { parseRecipe, type QuantizationReport, type Recipe } from "../../quantizer/index.ts";
import { type Model, openModel } from "../../runtime/index.ts";
import { sequenceLogits } from "../support/logits.ts";
import { integers, seeded } from "../support/random.ts";
import { roundLinears } from "../support/rounded-model.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { expectSameBits } from "../support/tolerance.ts";
import { bundledSegments, quantize, writeTwoBlocks } from "./quantized.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);
const source = at("source");
const json = (name: string, file: string) => JSON.parse(readFileSync(join(at(name), file), "utf8"));
const prompt = integers(40, 4096, seeded(6));

let segments: readonly Int32Array[] = [];
beforeAll(() => {
  writeTwoBlocks(source);
  segments = bundledSegments(4, 128);
});

async function run(
  name: string,
  recipe: Partial<Recipe> = {},
  options: { threads?: number; segments?: readonly Int32Array[]; overwrite?: boolean } = {},
): Promise<QuantizationReport> {
  using device = openDevice({ threads: options.threads ?? 2 });
  const { overwrite = false } = options;
  const ids = options.segments ?? segments;
  return await quantize({ source, output: at(name), segments: ids, recipe, device, overwrite });
}

async function logitsOf(name: string): Promise<Float32Array<ArrayBuffer>> {
  using device = openDevice({ threads: 2 });
  using model = openModel(at(name), device);
  return await sequenceLogits(model, prompt);
}

const shardsOf = (name: string) =>
  readdirSync(at(name)).filter((file) => file.endsWith(".safetensors"));
const hashesOf = (name: string) => shardsOf(name).map((file) => hashOf(join(at(name), file)));
const hashOf = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

describe("the output directory", () => {
  let report: QuantizationReport | undefined;
  beforeAll(async () => {
    report = await run("int4");
  });

  test("holds weights, configs, tokenizer and report, and no temporary file", () => {
    expect(readdirSync(at("int4")).sort()).toEqual([
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "model.safetensors.index.json",
      "quantize_config.json",
      "qwen.tiktoken",
      ...["report.arrow", "report.json", "report.md"],
      "tokenizer_config.json",
    ]);
    for (const file of ["generation_config.json", "qwen.tiktoken", "tokenizer_config.json"]) {
      expect(readFileSync(join(at("int4"), file))).toEqual(readFileSync(join(source, file)));
    }
  });

  test("has a config.json that differs from the source's in precision and quantization only", () => {
    expect(json("int4", "config.json")).toEqual({
      ...json("source", "config.json"),
      bf16: false,
      fp16: true,
      fp32: false,
      torch_dtype: "float16",
      quantization_config: json("int4", "quantize_config.json"),
    });
  });

  test("has a quantize_config.json with the fields that loaders ask for", () => {
    expect(json("int4", "quantize_config.json")).toMatchObject({
      bits: 4,
      group_size: 128,
      damp_percent: 0.05,
      desc_act: false,
      static_groups: true,
      sym: true,
      true_sequential: true,
      model_file_base_name: "model",
      quant_method: "gptq",
      checkpoint_format: "gptq",
    });
  });

  test("has an index that lists every tensor and their total size", () => {
    const index = json("int4", "model.safetensors.index.json");
    expect(index.metadata.total_size).toBe(report?.tensorBytes);
    // Embedding, head, final norm; per block two norms and five linears of five tensors.
    expect(Object.keys(index.weight_map)).toHaveLength(3 + 2 * (2 + 5 * 5));
    expect(new Set(Object.values(index.weight_map))).toEqual(new Set(["model.safetensors"]));
  });

  test("has a report that says per linear what was done and how much was lost", () => {
    expect(json("int4", "report.json")).toEqual(JSON.parse(JSON.stringify(report)));
    expect(report).toMatchObject({
      nibble: "0.0.0-test",
      source,
      recipe: parseRecipe({}),
      calibration: { segments: 4, tokens: 512 },
      // One value of each of these tables is below binary16's smallest.
      conversions: ["transformer.wte.weight", "lm_head.weight"].map((name) => ({
        name,
        overflowed: 0,
        flushed: 1,
      })),
      bitsPerWeight: 4.15625, // 4 + (16 + 4) / 128
      files: { copied: ["generation_config.json", "qwen.tiktoken", "tokenizer_config.json"] },
    });
    expect(report?.linears.map(({ name }) => name)).toEqual(
      [0, 1].flatMap((block) =>
        ["attn.c_attn", "attn.c_proj", "mlp.w1", "mlp.w2", "mlp.c_proj"].map(
          (linear) => `transformer.h.${block}.${linear}`,
        ),
      ),
    );
    for (const linear of report?.linears ?? []) {
      const isDown = linear.name.endsWith("mlp.c_proj");
      expect(linear).toMatchObject({
        method: "gptq",
        inFeatures: isDown ? 768 : 256,
        tokens: 512,
        damping: 0.05,
        deadInputs: 0,
      });
      expect(linear.fallback).toBeUndefined();
      expect(linear.loss).toBeGreaterThan(0);
      expect(linear.relativeError).toBeGreaterThan(0);
      expect(linear.relativeError).toBeLessThan(0.1);
      expect(linear.seconds).toBeGreaterThan(0);
    }
  });

  test("is the same bytes when made again, and with one thread", async () => {
    await run("again");
    await run("one-thread", {}, { threads: 1 });
    expect(hashesOf("again")).toEqual(hashesOf("int4"));
    expect(hashesOf("one-thread")).toEqual(hashesOf("int4"));
  });

  test("gives the same logits from many shards as from one", async () => {
    await run("shards", { maxShardBytes: 500_000 });
    expect(shardsOf("shards").length).toBeGreaterThan(3);
    expectSameBits(await logitsOf("shards"), await logitsOf("int4"));
  });

  test("gives the same logits without the biases of zeros", async () => {
    const { tensorBytes } = await run("no-bias", { zeroBias: false });
    expect(tensorBytes).toBeLessThan(report?.tensorBytes ?? 0);
    expect(json("no-bias", "quantize_config.json").meta.bias).toBe("source");
    expectSameBits(await logitsOf("no-bias"), await logitsOf("int4"));
  });

  test("keeps no shard of an earlier result when overwritten, and no file of another when not", async () => {
    await run("over", { maxShardBytes: 500_000 });
    await expect(run("over")).rejects.toMatchObject({ code: "QUANTIZE_OUTPUT" });
    writeFileSync(join(at("over"), "notes.txt"), "mine");
    await run("over", {}, { overwrite: true });
    expect(shardsOf("over")).toEqual(["model.safetensors"]);
    expect(hashesOf("over")).toEqual(hashesOf("int4"));
    expect(readFileSync(join(at("over"), "notes.txt"), "utf8")).toBe("mine");
    await run("over", { maxShardBytes: 500_000 }, { overwrite: true });
    expect(shardsOf("over")).toEqual(shardsOf("shards"));
  });

  test("keeps the bits of every unquantized tensor at dtype bf16", async () => {
    await run("bf16", { dtype: "bf16" });
    expect(json("bf16", "config.json")).toMatchObject({
      bf16: true,
      fp16: false,
      torch_dtype: "bfloat16",
    });
    using device = openDevice({ threads: 2 });
    using original = openModel(source, device);
    using result = openModel(at("bf16"), device);
    const { tensors } = result.checkpoint;
    const others = [...original.tensorShapes().keys()].filter((name) => tensors.has(name));
    expect(others).toHaveLength(3 + 2 * 3); // the c_attn biases too
    for (const name of others) {
      expect(tensors.get(name)?.dtype).toBe("BF16");
      const bytes = async (model: Model) => Buffer.from((await model.tensor(name).read()).buffer);
      expect((await bytes(result)).equals(await bytes(original)), name).toBe(true);
    }
  });
});

describe("a reloaded model", () => {
  test.each([4, 8] as const)(
    "of %i bits has the logits of the packed linears it was written from, to the bit",
    async (bits) => {
      const recipe = parseRecipe({ method: "rtn", bits, dtype: "bf16" });
      const { linears } = await run(`rtn${bits}`, recipe, { segments: [] });
      expect(linears).toHaveLength(10);
      for (const { method, tokens, loss } of linears) {
        expect({ method, tokens, loss }).toEqual({ method: "rtn", tokens: 0, loss: undefined });
      }
      using device = openDevice({ threads: 2 });
      using model = openModel(source, device);
      const before = await sequenceLogits(model, prompt);
      await roundLinears(model, device, recipe);
      const packed = await sequenceLogits(model, prompt);
      expect(packed).not.toEqual(before);
      expectSameBits(await logitsOf(`rtn${bits}`), packed);
    },
  );
});
