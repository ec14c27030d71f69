// Hand-made LoRA adapters in the files that PEFT writes.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { openAdapter } from "../../quantizer/index.ts";
import { toBf16 } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { safetensors } from "../support/tiny-checkpoint.ts";
import { torchFile } from "../support/torch-file.ts";

export type AdapterTensor = {
  readonly shape: readonly number[];
  readonly values: Float32Array<ArrayBuffer>;
  /** "F32" by default. */
  readonly dtype?: "F32" | "BF16";
};
/** By the name in the file. */
export type AdapterTensors = Readonly<Record<string, AdapterTensor>>;

/** As PEFT 0.6 writes it for Qwen's finetune.py. */
export const adapterConfig = {
  auto_mapping: null,
  base_model_name_or_path: "Qwen/Qwen-1_8B",
  bias: "none",
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  layers_pattern: null,
  layers_to_transform: null,
  lora_alpha: 16,
  lora_dropout: 0.05,
  modules_to_save: null,
  peft_type: "LORA",
  r: 8,
  rank_pattern: {},
  alpha_pattern: {},
  revision: null,
  target_modules: ["attn.c_attn"],
  task_type: "CAUSAL_LM",
} as const;

export type Config = Readonly<Record<string, unknown>>;

/** Writes an adapter; `config` replaces single fields. ".bin" is what PEFT wrote before 0.7. */
export function writeAdapter(
  dir: string,
  tensors: AdapterTensors,
  config: Config = {},
  format: ".safetensors" | ".bin" = ".safetensors",
): string {
  mkdirSync(dir, { recursive: true });
  const json = JSON.stringify({ ...adapterConfig, ...config });
  writeFileSync(join(dir, "adapter_config.json"), json);
  const stored = Object.entries(tensors).map(([name, { shape, values, dtype = "F32" }]) => {
    const numbers = dtype === "BF16" ? toBf16(values) : values;
    return { name, dtype, shape, bytes: new Uint8Array(numbers.buffer) };
  });
  const bytes = format === ".bin" ? torchFile(stored) : safetensors(stored);
  writeFileSync(join(dir, `adapter_model${format}`), bytes);
  return dir;
}

/** The two tensors of one linear [out, in], with values large enough to change what the model says. */
export function pair(
  module: string,
  [outFeatures, inFeatures]: readonly [number, number],
  rank = 8,
): AdapterTensors {
  const random = seeded(module.length + rank + outFeatures);
  const tensor = (shape: readonly [number, number]): AdapterTensor => ({
    shape,
    values: normal(shape[0] * shape[1], random, { scale: 0.05 }),
  });
  return {
    [`base_model.model.${module}.lora_A.weight`]: tensor([rank, inFeatures]),
    [`base_model.model.${module}.lora_B.weight`]: tensor([outFeatures, rank]),
  };
}

/** Opens an adapter for a model and lets it go. */
export async function tryAdapter(dir: string, source: string): Promise<void> {
  using device = openDevice({ threads: 1 });
  using _adapter = await openAdapter(dir, source, device);
}

/** A QuantizeError whose message names these, in their order. */
export function adapterError(code: string, ...named: string[]): object {
  const pattern = named.map((part) => part.replace(/[.[\]()*+?]/g, "\\$&")).join(".*");
  return { name: "QuantizeError", code, message: expect.stringMatching(new RegExp(pattern, "s")) };
}
