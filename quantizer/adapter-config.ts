// adapter_config.json of PEFT: what it asks for, or why that cannot be merged. Everything that changes a result is
// either honoured or refused; see LoraConfig in src/peft/tuners/lora/config.py of huggingface/peft.
import { z } from "zod";
import { type JsonObject, shown } from "../runtime/index.ts";
import { PatternTable } from "./adapter-patterns.ts";
import { QuantizeError } from "./errors.ts";

/** The checked settings of a LoRA adapter; module names are those of the model, without PEFT's prefix. */
export type AdapterConfig = {
  readonly bias: "none" | "all" | "lora_only";
  /** Modules trained as a whole, as full names or their ends. */
  readonly savedModules: readonly string[];
  /** Whether a linear was adapted in training; undefined where target_modules is an expression and does not say. */
  isTarget(module: string): boolean | undefined;
  rank(module: string): number;
  /** What B·A is multiplied by. */
  scale(module: string): number;
};

/** Far above any adapter in use; the scale is applied with a matrix of rank × rank. */
const maxRank = 4096;

const names = z.union([z.array(z.string()), z.string()]);
const layers = z.union([z.array(z.number().int().min(0)), z.number().int().min(0)]);
const rank = z.number().int().min(1).max(maxRank);

// Defaults are PEFT's.
const schema = z.object({
  r: rank.default(8),
  lora_alpha: z.number().default(8),
  use_rslora: z.boolean().default(false),
  rank_pattern: z.record(z.string(), rank).default({}),
  alpha_pattern: z.record(z.string(), z.number()).default({}),
  bias: z.enum(["none", "all", "lora_only"]).default("none"),
  target_modules: names.optional(),
  exclude_modules: names.optional(),
  modules_to_save: z.array(z.string()).default([]),
  layers_to_transform: layers.optional(),
  layers_pattern: names.optional(),
});
type Fields = z.infer<typeof schema>;

/** Settings that change nothing about a trained adapter. */
const harmless: ReadonlySet<string> = new Set([
  ...Object.keys(schema.shape),
  ...["peft_type", "task_type", "auto_mapping", "revision", "inference_mode", "peft_version"],
  ...["base_model_name_or_path", "lora_dropout", "megatron_core", "runtime_config"],
  ...["init_lora_weights", "eva_config", "ensure_weight_tying", "qalora_group_size"],
]);

/** Settings that are refused unless they are off, and why. */
const refusals: Readonly<Record<string, string>> = {
  use_dora: "DoRA rescales whole rows of the weight, which W + s·B·A cannot express",
  use_qalora: "QALoRA belongs to the quantized model it was trained on",
  fan_in_fan_out: "the linears of this model store [out, in]",
  lora_bias: "biases of lora_B are not supported",
  layer_replication: "it makes a model with more layers",
  megatron_config: "Megatron's parallel layers are not supported",
  target_parameters: "adapters of single parameters are not supported",
  trainable_token_indices: "adapters of single tokens are not supported",
  alora_invocation_tokens: "an activated LoRA must not act on every token, as merged weights do",
  quantization_config: "it was trained on quantized weights (Q-LoRA)",
  loftq_config: "it was trained beside weights that LoftQ quantized",
  load_in_4bit: "it was trained on quantized weights (Q-LoRA)",
  load_in_8bit: "it was trained on quantized weights (Q-LoRA)",
};

/** Initializations that leave the base model as it is; the others train against changed weights. */
const plainStarts: readonly unknown[] = [true, false, "gaussian", "eva", "orthogonal"];

/**
 * Checks the settings of an adapter.
 *
 * @param raw   adapter_config.json
 * @param file  its path, for messages
 * @throws QuantizeError QUANTIZE_ADAPTER_KIND for what cannot be merged, QUANTIZE_ADAPTER for a malformed setting
 */
export function parseAdapterConfig(raw: JsonObject, file: string): AdapterConfig {
  refuseKinds(raw, file);
  const given = Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== null));
  const result = schema.safeParse(given);
  if (!result.success) {
    const [issue] = result.error.issues;
    const field = String(issue?.path[0]);
    throw new QuantizeError(
      "QUANTIZE_ADAPTER",
      `${file}: field ${field}: ${issue?.message}; got ${shown(raw[field])}`,
      { cause: result.error },
    );
  }
  const fields = result.data;
  requireCommonLayers(fields, file);
  const ranks = new PatternTable(fields.rank_pattern, fields.r, `${file}: rank_pattern`);
  const alphas = new PatternTable(
    fields.alpha_pattern,
    fields.lora_alpha,
    `${file}: alpha_pattern`,
  );
  return {
    bias: fields.bias,
    savedModules: fields.modules_to_save,
    isTarget: (module) => isTarget(module, fields),
    rank: (module) => ranks.get(module),
    scale: (module) => {
      const r = ranks.get(module);
      return alphas.get(module) / (fields.use_rslora ? Math.sqrt(r) : r);
    },
  };
}

/** Whether a module is one of the given names or ends with one, as PEFT matches lists of names. */
export function isNamed(module: string, ends: readonly string[]): boolean {
  return ends.some((end) => module === end || module.endsWith(`.${end}`));
}

function refuseKinds(raw: JsonObject, file: string): void {
  const refuse = (problem: string): never => {
    throw new QuantizeError("QUANTIZE_ADAPTER_KIND", `${file}: ${problem}`);
  };
  const { peft_type: type, init_lora_weights: start = true } = raw;
  if (type !== "LORA") {
    refuse(`peft_type ${shown(type)} is not supported; expected "LORA"`);
  }
  const base = quantizedBase(raw["base_model_name_or_path"]);
  if (base !== undefined) {
    refuse(
      `this is a Q-LoRA adapter: its base model ${shown(base)} is quantized. It was trained to fit that model's ` +
        "rounded weights and cannot be merged into others; train a LoRA adapter on the float model instead",
    );
  }
  for (const [field, value] of Object.entries(raw)) {
    if (isOff(value) || harmless.has(field)) continue;
    const reason = refusals[field] ?? "this setting is unknown, and may change the result";
    refuse(`${nameOf(field)} ${shown(value)} is not supported: ${reason}`);
  }
  if (start !== null && !plainStarts.includes(start)) {
    refuse(
      `init_lora_weights ${shown(start)} is not supported: it changes the base model's weights before training; ` +
        "save the adapter again with path_initial_model_for_weight_conversion",
    );
  }
}

/** A setting's name as it is where it is one, and escaped where it could be anything. */
function nameOf(field: string): string {
  return /^\w{1,64}$/.test(field) ? field : shown(field);
}

function isOff(value: unknown): boolean {
  if (value === null || value === false) return true;
  return typeof value === "object" && Object.keys(value ?? {}).length === 0;
}

/** The name of a base model that says it is quantized, as a directory, a model id or a place in the cache. */
function quantizedBase(path: unknown): string | undefined {
  if (typeof path !== "string") return undefined;
  const parts = path.split(/[/\\]/).filter((part) => part !== "");
  const candidates = parts.filter(
    (part, i) => i === parts.length - 1 || part.startsWith("models--"),
  );
  return candidates.find((part) =>
    /[-_.](int[48]|gptq|awq|bnb|nf4|[48]-?bit)(?![a-z0-9])/i.test(part),
  );
}

function requireCommonLayers(fields: Fields, file: string): void {
  const { layers_to_transform: chosen, layers_pattern: pattern } = fields;
  const patterns = pattern === undefined ? [] : [pattern].flat();
  if (chosen === undefined || patterns.every((name) => name === "h")) return;
  throw new QuantizeError(
    "QUANTIZE_ADAPTER_KIND",
    `${file}: layers_pattern ${shown(pattern)} is not supported; the blocks of this model are in "h"`,
  );
}

function isTarget(module: string, fields: Fields): boolean | undefined {
  const { target_modules: targets, exclude_modules: excluded = [] } = fields;
  if (!Array.isArray(targets) || !Array.isArray(excluded)) return undefined;
  if (isNamed(module, excluded)) return false;
  // A full name counts whatever layers were chosen.
  if (targets.includes(module)) return true;
  return isNamed(module, targets) && isInLayers(module, fields.layers_to_transform);
}

function isInLayers(module: string, layers: Fields["layers_to_transform"]): boolean {
  const chosen = layers === undefined ? [] : [layers].flat();
  if (chosen.length === 0) return true;
  const layer = /\.h\.(\d+)\./.exec(module)?.[1];
  return layer !== undefined && chosen.includes(Number(layer));
}
