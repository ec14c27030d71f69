// What is written beside quantized weights, so that AutoGPTQ, GPTQModel, transformers and vLLM all load them.

import type { FloatDtypeName } from "./config.ts";
import { CheckpointError } from "./errors.ts";
import type { JsonObject } from "./json.ts";
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
  return {
    ...source,
    bf16: dtype === "bfloat16",
    fp16: dtype === "float16",
    fp32: false,
    torch_dtype: dtype,
    // Newer transformers write "dtype" and would believe it over torch_dtype.
    ...("dtype" in source ? { dtype } : {}),
    quantization_config: quantization,
  };
}
