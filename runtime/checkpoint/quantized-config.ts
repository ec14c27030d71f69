// What is written beside quantized weights, so that AutoGPTQ, GPTQModel, transformers and vLLM all load them.

import { join } from "node:path";
import type { FloatDtypeName } from "./config.ts";
import { CheckpointError } from "./errors.ts";
import { statPath } from "./file-access.ts";
import { isJsonObject, type JsonObject, readJsonFile } from "./json.ts";
import type { QuantizationConfig } from "./quantization-config.ts";

export type QuantizationProvenance = {
  /** Version of this toolkit, recorded as meta.quantizer ["nibble:<version>"]. */
  readonly version: string;
  /** Whether linears without a bias of their own carry one of zeros. */
  readonly bias: "all" | "source";
  /** Further facts for `meta`, which loaders ignore. */
  readonly meta?: JsonObject;
};

/**
 * The content of quantize_config.json, also for `quantization_config` in config.json: the fields that any of the known
 * loaders asks for, under every name they use.
 */
export function quantizationConfigJson(
  config: QuantizationConfig,
  provenance: QuantizationProvenance,
): JsonObject {
  const { modulesInBlock } = config;
  return {
    bits: config.bits,
    group_size: config.groupSize,
    damp_percent: config.dampPercent,
    desc_act: config.descAct,
    static_groups: config.staticGroups,
    sym: config.sym,
    true_sequential: config.trueSequential,
    model_name_or_path: null,
    model_file_base_name: "model",
    quant_method: "gptq",
    checkpoint_format: config.checkpointFormat,
    format: config.checkpointFormat,
    pack_dtype: "int32",
    lm_head: false,
    ...(modulesInBlock === undefined ? {} : { modules_in_block_to_quantize: modulesInBlock }),
    meta: {
      ...provenance.meta,
      quantizer: [`nibble:${provenance.version}`],
      damp_percent: config.dampPercent,
      static_groups: config.staticGroups,
      true_sequential: config.trueSequential,
      bias: provenance.bias,
    },
  };
}

/**
 * config.json of the quantized model: the source's, with precision flags and quantization_config set and every other
 * key kept.
 *
 * @param quantization  what `quantizationConfigJson` returned
 * @param dtype  of the scales and of everything left unquantized
 * @throws CheckpointError CHECKPOINT_UNSUPPORTED if the source is quantized already
 */
export function quantizedConfigJson(
  source: JsonObject,
  quantization: JsonObject,
  dtype: Exclude<FloatDtypeName, "float32">,
): JsonObject {
  if ((source["quantization_config"] ?? null) !== null) {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      "config.json: quantization_config is there already; quantize the original model instead",
    );
  }
  return { ...floatConfigJson(source, dtype), quantization_config: quantization };
}

/** config.json of a float model: the source's with precision flags set, without quantization_config. */
export function floatConfigJson(source: JsonObject, dtype: FloatDtypeName): JsonObject {
  const { quantization_config: _removed, ...kept } = source;
  return {
    ...kept,
    bf16: dtype === "bfloat16",
    fp16: dtype === "float16",
    fp32: dtype === "float32",
    torch_dtype: dtype,
    // Newer transformers write "dtype" and would believe it over torch_dtype.
    ...("dtype" in source ? { dtype } : {}),
  };
}

/**
 * The configs of a quantized checkpoint that is written again, its zeros perhaps in another format: every other field stays as
 * it is. Loaders differ in where they look, so both files get what the source has in either.
 *
 * @throws CheckpointError CHECKPOINT_CONFIG for a file that is no JSON object
 */
export function rewrittenConfigsJson(
  source: { readonly dir: string; readonly config: JsonObject },
  format: QuantizationConfig["checkpointFormat"],
): { readonly config: JsonObject; readonly quantization: JsonObject } {
  const { quantization_config: embedded, ...config } = source.config;
  const names = ["quantize_config.json", "quant_config.json"];
  const file = names.map((name) => join(source.dir, name)).find((path) => statPath(path));
  const separate = file === undefined ? {} : readJsonFile(file, "CHECKPOINT_CONFIG");
  const quantization: JsonObject = {
    ...separate,
    ...(isJsonObject(embedded) ? embedded : {}),
    // A null is a gap that the other file may fill.
    ...Object.fromEntries(Object.entries(separate).filter(([, value]) => value !== null)),
    model_file_base_name: "model",
    checkpoint_format: format,
    format,
  };
  return { config: { ...config, quantization_config: quantization }, quantization };
}
