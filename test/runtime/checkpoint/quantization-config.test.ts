import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  type JsonObject,
  type QuantizationConfig,
  quantizationConfigJson,
  quantizedConfigJson,
  readQuantizationConfig,
} from "../../../runtime/checkpoint/index.ts";
import { temporaryDirectory, tinyQwenConfig } from "../../support/tiny-checkpoint.ts";
import { refusal } from "./refusal.ts";

const directory = temporaryDirectory();
afterAll(directory.remove);

type Files = {
  readonly quantize_config?: unknown;
  readonly quant_config?: unknown;
  readonly embedded?: unknown;
};

let made = 0;

/** Reads the config of a directory with the given quantization files. */
function read(files: Files): QuantizationConfig | undefined {
  made += 1;
  const dir = join(directory.path, String(made));
  mkdirSync(dir);
  for (const name of ["quantize_config", "quant_config"] as const) {
    if (files[name] !== undefined) {
      writeFileSync(join(dir, `${name}.json`), JSON.stringify(files[name]));
    }
  }
  const embedded = files.embedded === undefined ? {} : { quantization_config: files.embedded };
  return readQuantizationConfig(dir, { ...tinyQwenConfig, ...embedded } as JsonObject);
}

/** As in the official Qwen Int4 releases: no quant_method, no checkpoint_format. */
const officialConfig = {
  bits: 4,
  group_size: 128,
  damp_percent: 0.01,
  desc_act: false,
  static_groups: false,
  sym: true,
  true_sequential: true,
  model_name_or_path: null,
  model_file_base_name: "model",
} as const;

const parsed: QuantizationConfig = {
  bits: 4,
  groupSize: 128,
  sym: true,
  descAct: false,
  staticGroups: false,
  trueSequential: true,
  dampPercent: 0.01,
  checkpointFormat: "gptq",
};

describe("readQuantizationConfig", () => {
  it("returns undefined for a model that is not quantized", () => {
    expect(read({})).toBeUndefined();
    expect(read({ embedded: null })).toBeUndefined();
  });

  it("reads the official form from each of the three places", () => {
    expect(read({ quantize_config: officialConfig })).toEqual(parsed);
    expect(read({ quant_config: officialConfig })).toEqual(parsed);
    expect(read({ embedded: { ...officialConfig, quant_method: "gptq" } })).toEqual(parsed);
  });

  it("prefers quantize_config.json, then quant_config.json, where they may differ", () => {
    const damped = (damp: number) => ({ ...officialConfig, damp_percent: damp });
    const all = { quant_config: damped(0.2), embedded: damped(0.3) };
    expect(read({ ...all, quantize_config: damped(0.1) })?.dampPercent).toBe(0.1);
    expect(read(all)?.dampPercent).toBe(0.2);
  });

  it("fills a gap of the first file from the next: a missed gptq_v2 would give gibberish", () => {
    const embedded = { ...officialConfig, checkpoint_format: "gptq_v2" };
    expect(read({ quantize_config: officialConfig, embedded })?.checkpointFormat).toBe("gptq_v2");
  });

  it("assumes what old writers left out, and takes null for absent", () => {
    expect(read({ quantize_config: { bits: 8, group_size: -1, sym: null } })).toEqual({
      ...parsed,
      bits: 8,
      groupSize: -1,
    });
  });

  it("reads the synonyms of other writers", () => {
    const fields = { w_bit: 8, q_group_size: 64, format: "gptq_v2", method: "gptq", sym: false };
    expect(read({ quantize_config: fields })).toEqual({
      ...parsed,
      bits: 8,
      groupSize: 64,
      sym: false,
      checkpointFormat: "gptq_v2",
    });
  });

  it("reads what GPTQModel keeps under meta, and the list of quantized modules", () => {
    const modules = [["attn.c_attn"], ["mlp.w1", "mlp.w2"]];
    const fields = {
      bits: 4,
      group_size: 32,
      desc_act: true,
      dynamic: {},
      lm_head: false,
      pack_dtype: "int32",
      meta: { quantizer: ["gptqmodel:2.0"], damp_percent: 0.05, static_groups: true },
      modules_in_block_to_quantize: modules,
    };
    expect(read({ embedded: fields })).toEqual({
      ...parsed,
      groupSize: 32,
      descAct: true,
      staticGroups: true,
      dampPercent: 0.05,
      modulesInBlock: modules,
    });
  });

  it.each([2, 3, 4, 8])("reads %i bits", (bits) => {
    expect(read({ quantize_config: { ...officialConfig, bits } })?.bits).toBe(bits);
  });

  it.each([
    { fields: { quant_method: "awq" }, names: "awq" },
    { fields: { version: "GEMM" }, names: "AWQ" },
    { fields: { quant_method: "bitsandbytes" }, names: "bitsandbytes" },
    { fields: { is_marlin_format: true }, names: "Marlin" },
    { fields: { checkpoint_format: "marlin" }, names: "marlin" },
    { fields: { format: "bitblas" }, names: "bitblas" },
    { fields: { quant_method: 7 }, names: "7" },
    { fields: { pack_dtype: "int16" }, names: "int16" },
    { fields: { lm_head: true }, names: "lm_head" },
    { fields: { dynamic: { "+:.*down.*": { bits: 5 } } }, names: "bits 5" },
    { fields: { dynamic: { "+:.*": { pack_dtype: "int16" } } }, names: "pack_dtype" },
    { fields: { dynamic: { "-:(a+)+$": {} } }, names: "(a+)+$" },
    { fields: { dynamic: { "-:.*.*.*.*x": {} } }, names: ".*.*.*.*x" },
    { fields: { dynamic: { "-:(?=a)": {} } }, names: "(?=a)" },
  ])("refuses as unsupported $fields", ({ fields, names }) => {
    const error = refusal(() => read({ quantize_config: { ...officialConfig, ...fields } }));
    expect(error.code).toBe("CHECKPOINT_UNSUPPORTED");
    expect(error.message).toContain("quantize_config.json");
    expect(error.message).toContain(names);
  });

  it.each([
    { fields: { bits: 5 }, names: "bits" },
    { fields: { bits: "4" }, names: "bits" },
    { fields: { bits: null }, names: "bits" },
    { fields: { group_size: null }, names: "group_size" },
    { fields: { group_size: 0 }, names: "group_size" },
    { fields: { group_size: -2 }, names: "group_size" },
    { fields: { group_size: 1.5 }, names: "group_size" },
    { fields: { sym: "true" }, names: "sym" },
    { fields: { damp_percent: -0.1 }, names: "damp_percent" },
    { fields: { w_bit: 8 }, names: "w_bit" },
    { fields: { checkpoint_format: "gptq", format: "gptq_v2" }, names: "format" },
    { fields: { modules_in_block_to_quantize: ["a"] }, names: "modules_in_block_to_quantize" },
  ])("refuses as malformed $fields", ({ fields, names }) => {
    const error = refusal(() => read({ quantize_config: { ...officialConfig, ...fields } }));
    expect(error.code).toBe("CHECKPOINT_CONFIG");
    expect(error.message).toContain("quantize_config.json");
    expect(error.message).toContain(names);
  });

  it("refuses an embedded config that is not an object", () => {
    expect(refusal(() => read({ embedded: "gptq" })).code).toBe("CHECKPOINT_CONFIG");
  });

  it.each(["bits", "group_size", "sym", "desc_act"])(
    "refuses two files that differ in %s",
    (name) => {
      const other = { bits: 8, group_size: 64, sym: false, desc_act: true }[name];
      const files = {
        quantize_config: officialConfig,
        embedded: { ...officialConfig, [name]: other },
      };
      const error = refusal(() => read(files));
      expect(error.code).toBe("CHECKPOINT_CONFIG");
      expect(error.message).toContain(name);
      expect(error.message).toContain("quantize_config.json");
      expect(error.message).toContain("config.json (quantization_config)");
    },
  );
});

describe("quantizationConfigJson", () => {
  const provenance = { version: "1.2.3", bias: "all" } as const;

  it.each<{ title: string; config: QuantizationConfig }>([
    { title: "the default", config: parsed },
    {
      title: "an unusual one",
      config: {
        bits: 8,
        groupSize: -1,
        sym: false,
        descAct: true,
        staticGroups: true,
        trueSequential: false,
        dampPercent: 0.1,
        checkpointFormat: "gptq_v2",
        modulesInBlock: [["mlp.w1"]],
      },
    },
  ])("writes what readQuantizationConfig reads back: $title", ({ config }) => {
    const json = quantizationConfigJson(config, provenance);
    expect(read({ quantize_config: json, embedded: json })).toEqual(config);
  });

  it("has every field that a known loader asks for", () => {
    expect(quantizationConfigJson(parsed, { ...provenance, meta: { seed: 7 } })).toEqual({
      ...officialConfig,
      quant_method: "gptq",
      checkpoint_format: "gptq",
      format: "gptq",
      pack_dtype: "int32",
      lm_head: false,
      meta: {
        quantizer: ["nibble:1.2.3"],
        damp_percent: 0.01,
        static_groups: false,
        true_sequential: true,
        bias: "all",
        seed: 7,
      },
    });
  });
});

describe("quantizedConfigJson", () => {
  const quantization = quantizationConfigJson(parsed, { version: "0", bias: "source" });

  it("keeps every key of the source and sets precision and quantization", () => {
    const source = { ...tinyQwenConfig, auto_map: { a: "b" }, onnx_safe: null } as JsonObject;
    expect(quantizedConfigJson(source, quantization, "float16")).toEqual({
      ...source,
      bf16: false,
      fp16: true,
      fp32: false,
      torch_dtype: "float16",
      quantization_config: quantization,
    });
    expect(quantizedConfigJson(source, quantization, "bfloat16")).toMatchObject({
      bf16: true,
      fp16: false,
      torch_dtype: "bfloat16",
    });
  });

  it("keeps the newer name of torch_dtype in step where the source has it", () => {
    const json = quantizedConfigJson({ dtype: "bfloat16" }, quantization, "float16");
    expect(json).toMatchObject({ dtype: "float16", torch_dtype: "float16" });
  });

  it("refuses a source that is quantized already", () => {
    const error = refusal(() =>
      quantizedConfigJson({ quantization_config: quantization }, quantization, "float16"),
    );
    expect(error.code).toBe("CHECKPOINT_UNSUPPORTED");
  });
});
