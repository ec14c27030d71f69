import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seeded } from "../support/random.ts";
import { temporaryDirectory, writeTinyQwen } from "../support/tiny-checkpoint.ts";
import {
  type AdapterTensors,
  adapterConfig,
  adapterError,
  type Config,
  pair,
  tryAdapter,
  writeAdapter,
} from "./adapters.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);
let count = 0;
const fresh = () => at(`adapter-${count++}`);

const tiny = at("tiny");
const c0 = "transformer.h.0.attn.c_attn";
const c1 = "transformer.h.1.attn.c_attn";
const key = (module: string, rest: string) => `base_model.model.${module}.${rest}`;
const tensors = { ...pair(c0, [192, 64]), ...pair(c1, [192, 64]) };
const some = (shape: readonly number[]) => ({
  shape,
  values: new Float32Array(shape.reduce((product, size) => product * size, 1)),
});

beforeAll(() => {
  writeTinyQwen(tiny);
});

const opened = (config: Config, changed: AdapterTensors = tensors) =>
  tryAdapter(writeAdapter(fresh(), changed, config), tiny);

/** What PEFT 0.19 writes beyond `adapterConfig`, all of it at its defaults. */
const newerDefaults = {
  ...{ alora_invocation_tokens: null, arrow_config: null, corda_config: null, eva_config: null },
  ...{
    ensure_weight_tying: false,
    exclude_modules: null,
    layer_replication: null,
    loftq_config: {},
  },
  ...{ lora_bias: false, lora_ga_config: null, megatron_config: null, peft_version: "0.19.1" },
  ...{ megatron_core: "megatron.core", qalora_group_size: 16, target_parameters: null },
  ...{ trainable_token_indices: null, use_bdlora: null, use_dora: false, use_qalora: false },
  ...{ use_rslora: false, lora_alpha: 16.0 },
};

test("a setting whose name could reprogram a terminal is refused with its name escaped", async () => {
  const error = await opened({ "\u009b2J": 4 }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "QUANTIZE_ADAPTER_KIND" });
  expect((error as Error).message).toMatch(/^\P{Cc}+$/u);
});

test.each([{}, newerDefaults])(
  "the adapter that the refusals start from is taken",
  async (more) => {
    await expect(opened(more)).resolves.toBeUndefined();
  },
);

describe("adapter_config.json is refused with", () => {
  test.each([
    { what: "another kind of adapter", config: { peft_type: "IA3" }, named: ["peft_type", "IA3"] },
    { what: "AdaLoRA", config: { peft_type: "ADALORA" }, named: ["peft_type"] },
    { what: "no kind", config: { peft_type: undefined }, named: ["peft_type"] },
    { what: "DoRA", config: { use_dora: true }, named: ["use_dora", "DoRA"] },
    { what: "transposed weights", config: { fan_in_fan_out: true }, named: ["fan_in_fan_out"] },
    { what: "biases of lora_B", config: { lora_bias: true }, named: ["lora_bias"] },
    { what: "more layers", config: { layer_replication: [[0, 2]] }, named: ["layer_replication"] },
    {
      what: "other layer names",
      config: { layers_to_transform: 1, layers_pattern: "blocks" },
      named: ["layers_pattern"],
    },
    { what: "PiSSA", config: { init_lora_weights: "pissa_niter_4" }, named: ["init_lora_weights"] },
    {
      what: "LoftQ",
      config: { init_lora_weights: "loftq", loftq_config: { loftq_bits: 4 } },
      named: ["loftq_config"],
    },
    {
      what: "quantized training",
      config: { quantization_config: { bits: 4 } },
      named: ["quantization_config", "Q-LoRA"],
    },
    { what: "a setting nobody knows", config: { lora_twist: 2 }, named: ["lora_twist", "unknown"] },
  ])("$what, as what cannot be merged", async ({ config, named }) => {
    await expect(opened(config)).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER_KIND", "adapter_config.json", ...named),
    );
  });

  test.each([
    "Qwen/Qwen-7B-Chat-Int4",
    "/models/Qwen-7B-Chat-Int8/",
    "C:\\models\\Qwen-14B-GPTQ",
    "someone/qwen-7b-bnb-4bit",
    "/cache/models--Qwen--Qwen-7B-Chat-Int4/snapshots/9b0df",
  ])("the quantized base model %s, as Q-LoRA", async (path) => {
    await expect(opened({ base_model_name_or_path: path })).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER_KIND", "Q-LoRA"),
    );
  });

  test.each(["Qwen/Qwen-7B-Chat", "/data/run-int4-compare/Qwen-7B", "Qwen-7B-point4", null])(
    "a float base model %s: no, that is taken",
    async (path) => {
      await expect(opened({ base_model_name_or_path: path })).resolves.toBeUndefined();
    },
  );

  test.each([
    { r: 0 },
    { r: 2.5 },
    { r: 1e9 },
    { r: "8" },
    { lora_alpha: "16" },
    { use_rslora: "yes" },
    { bias: "some" },
    { rank_pattern: { c_attn: 0 } },
    { rank_pattern: [8] },
    { alpha_pattern: { c_attn: null } },
    { modules_to_save: "wte" },
    { target_modules: [7] },
    { layers_to_transform: [-1] },
  ])("the malformed %j", async (config) => {
    const [field = ""] = Object.keys(config);
    await expect(opened(config)).rejects.toMatchObject(adapterError("QUANTIZE_ADAPTER", field));
  });

  test.each([
    ["(a+)+$", "QUANTIZE_ADAPTER_KIND"],
    ["(.*)*", "QUANTIZE_ADAPTER_KIND"],
    [".*.*.*c_attn", "QUANTIZE_ADAPTER_KIND"],
    ["(?i)C_ATTN", "QUANTIZE_ADAPTER_KIND"],
    ["c_attn\\b", "QUANTIZE_ADAPTER_KIND"],
    ["c".repeat(300), "QUANTIZE_ADAPTER_KIND"],
    ["c_attn{2}", "QUANTIZE_ADAPTER_KIND"],
    ["(c_attn", "QUANTIZE_ADAPTER"],
    ["[z-a]", "QUANTIZE_ADAPTER"],
  ])("the pattern %s", async (pattern, code) => {
    for (const field of ["rank_pattern", "alpha_pattern"]) {
      await expect(opened({ [field]: { [pattern]: 8 } })).rejects.toMatchObject(
        adapterError(code, field),
      );
    }
  });

  test("more expressions than a person writes", async () => {
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`.*${i}.w1`, 8]));
    await expect(opened({ rank_pattern: many })).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER_KIND", "rank_pattern"),
    );
  });
});

describe("adapter_model.safetensors is refused with", () => {
  test.each([
    { what: "a tensor of no known name", name: "base_model.model.score.weight" },
    { what: "a tensor of another model", name: key("model.layers.0.q_proj", "lora_A.weight") },
    { what: "a tensor without PEFT's prefix", name: "transformer.wte.weight" },
    { what: "a layer too many", name: key("transformer.h.2.attn.c_attn", "lora_A.weight") },
    { what: "another adapter's tensor", name: key(c0, "lora_A.other.weight") },
    { what: "an old copy of a module", name: key("lm_head", "original_module.weight") },
    { what: "a bias of lora_B", name: key(c0, "lora_B.bias") },
  ])("$what, which it names", async ({ name }) => {
    await expect(opened({}, { ...tensors, [name]: some([8, 64]) })).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER", "adapter_model.safetensors", name),
    );
  });

  test.each([
    {
      what: "LoRA of an embedding",
      name: key("transformer.wte", "lora_embedding_A"),
      shape: [8, 128],
    },
    { what: "DoRA's magnitudes", name: key(c0, "lora_magnitude_vector"), shape: [192] },
  ])("$what, as what cannot be merged", async ({ name, shape }) => {
    await expect(opened({}, { ...tensors, [name]: some(shape) })).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER_KIND", name),
    );
  });

  test.each([
    { what: "the rank of A", name: key(c0, "lora_A.weight"), shape: [4, 64] },
    { what: "the rank of B", name: key(c0, "lora_B.weight"), shape: [192, 4] },
    { what: "the inputs", name: key(c0, "lora_A.weight"), shape: [8, 128] },
    { what: "the outputs", name: key(c0, "lora_B.weight"), shape: [64, 8] },
    { what: "the number of dimensions", name: key(c0, "lora_B.weight"), shape: [192, 8, 1] },
    { what: "a whole table", name: key("lm_head", "weight"), shape: [130, 64] },
    { what: "a bias", name: key(c0, "bias"), shape: [64] },
  ])("a shape that does not fit in $what", async ({ name, shape }) => {
    await expect(opened({}, { ...tensors, [name]: some(shape) })).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER", name, `[${shape.join(",")}]`),
    );
  });

  test("no tensors", async () => {
    await expect(opened({ target_modules: "all-linear" }, {})).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER", "adapter_model.safetensors"),
    );
  });

  test("two tensors that mean the same", async () => {
    const twice = { ...tensors, [key(c0, "lora_A.default.weight")]: some([8, 64]) };
    await expect(opened({}, twice)).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER", "lora_A.default.weight", "lora_A.weight"),
    );
  });

  test("a weight both adapted and replaced", async () => {
    const name = key(c0, "base_layer.weight");
    await expect(opened({}, { ...tensors, [name]: some([192, 64]) })).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER", "lora_A", name),
    );
  });

  test.each(["lora_A.weight", "lora_B.weight"])("nothing beside a missing %s", async (half) => {
    const { [key(c1, half)]: _missing, ...rest } = tensors;
    await expect(opened({}, rest)).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER", c1, half.slice(0, "lora_A".length)),
    );
  });

  test.each([
    { what: "a module that was a target", config: {}, rest: pair(c0, [192, 64]), named: c1 },
    {
      what: "a module trained whole",
      config: { modules_to_save: ["wte"] },
      named: "transformer.wte.weight",
    },
    { what: "a module the model lacks", config: { modules_to_save: ["score"] }, named: "score" },
    { what: "biases that were trained", config: { bias: "lora_only" }, named: `${c0}.bias` },
  ])("$what missing", async ({ config, rest = tensors, named }) => {
    await expect(opened(config, rest)).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER", named, "missing"),
    );
  });

  test("a module that was none of the targets", async () => {
    await expect(opened({ target_modules: ["w1"] })).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER", c0),
    );
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "the value %f, its tensor named",
    async (bad) => {
      const name = key(c1, "lora_B.weight");
      const values = new Float32Array(192 * 8);
      values[100] = bad;
      await expect(
        opened({}, { ...tensors, [name]: { shape: [192, 8], values } }),
      ).rejects.toMatchObject(adapterError("QUANTIZE_ADAPTER", name));
    },
  );
});

test("settings changed at random give an adapter or an error of ours, and quickly", async () => {
  const random = seeded(11);
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;
  const values = [null, true, -1, 0, 8, 1e308, "", "(((", [], {}, [[]], { "": 8 }, { ".*": 8 }];
  const started = performance.now();
  for (let i = 0; i < 300; i++) {
    const config = { [pick(Object.keys(adapterConfig))]: pick(values), [pick(["x", "r"])]: 8 };
    const outcome = await opened(config).then(
      () => "taken",
      (thrown: Error) => thrown.name,
    );
    expect(["taken", "QuantizeError", "CheckpointError"], JSON.stringify(config)).toContain(
      outcome,
    );
  }
  expect(performance.now() - started).toBeLessThan(30_000);
});
