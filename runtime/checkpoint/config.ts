// config.json of Qwen v1, in its current and its August 2023 spelling, as one checked object.

import { z } from "zod";
import { CheckpointError, shown } from "./errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

export type FloatDtypeName = "bfloat16" | "float16" | "float32";

export type QwenConfig = {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Equal to `heads`: Qwen v1 has no grouped-query attention. */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Outputs of w1 and of w2 each: half of what config.json calls intermediate_size. */
  readonly ffnSize: number;
  /** Rows of wte and lm_head, padded beyond the tokens that exist. */
  readonly vocabSize: number;
  /** Training length; dynamic NTK and logn attention start beyond it. */
  readonly seqLength: number;
  readonly maxPositions: number;
  readonly ropeBase: number;
  readonly rotaryPct: 1;
  readonly normEpsilon: number;
  readonly useDynamicNtk: boolean;
  readonly useLogn: boolean;
  /** c_attn always has a bias. */
  readonly hasQkvBias: true;
  /** Whether attn.c_proj, mlp.w1, mlp.w2 and mlp.c_proj have one (config.json: no_bias = false). */
  readonly hasLinearBias: boolean;
  readonly tieWordEmbeddings: false;
  /** What config.json asks for; "auto" when it leaves the choice to the device. */
  readonly dtype: FloatDtypeName | "auto";
};

/** Current name → name in the weights of August 2023. */
const oldNames = {
  hidden_size: "n_embd",
  num_hidden_layers: "n_layer",
  num_attention_heads: "n_head",
  intermediate_size: "ffn_hidden_size",
  max_position_embeddings: "n_positions",
} as const;

const flags = { bf16: "bfloat16", fp16: "float16", fp32: "float32" } as const;

// Bounds are several times the largest model of the family: their job is to stop a bad file before it sizes memory.
const count = (limit: number) => z.number().int().min(1).max(limit);

// Defaults are those of QWenConfig in configuration_qwen.py.
const schema = z.object({
  hidden_size: count(65_536),
  num_hidden_layers: count(1_024),
  num_attention_heads: count(1_024),
  kv_channels: count(1_024).default(128),
  intermediate_size: count(1_048_576),
  vocab_size: count(4_194_304),
  seq_length: count(16_777_216),
  max_position_embeddings: count(16_777_216).default(8_192),
  rotary_emb_base: z.number().min(1).max(1e12).default(10_000),
  rotary_pct: z.number().default(1),
  layer_norm_epsilon: z.number().positive().max(1).default(1e-6),
  use_dynamic_ntk: z.boolean().default(true),
  use_logn_attn: z.boolean().default(true),
  no_bias: z.boolean().default(true),
  scale_attn_weights: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
  bf16: z.boolean().default(false),
  fp16: z.boolean().default(false),
  fp32: z.boolean().default(false),
});

type Fields = z.infer<typeof schema>;

/**
 * Checks a Qwen v1 config.json and gives it one spelling.
 *
 * @param file  path of config.json, for messages
 * @throws CheckpointError CHECKPOINT_UNSUPPORTED for another architecture or a variant that is not implemented,
 *   CHECKPOINT_CONFIG for a missing, mistyped, absurd or contradictory field
 * @see configuration_qwen.py of Qwen/Qwen-7B
 */
export function parseQwenConfig(raw: JsonObject, file: string): QwenConfig {
  requireQwen(raw, file);
  const result = schema.safeParse(withCurrentNames(raw, file));
  if (!result.success) throw fieldError(result.error, raw, file);
  const fields = result.data;
  refuseUnsupported(fields, file);
  requireConsistent(fields, file);
  return {
    hiddenSize: fields.hidden_size,
    layers: fields.num_hidden_layers,
    heads: fields.num_attention_heads,
    kvHeads: fields.num_attention_heads,
    headDim: fields.kv_channels,
    ffnSize: fields.intermediate_size / 2,
    vocabSize: fields.vocab_size,
    seqLength: fields.seq_length,
    maxPositions: fields.max_position_embeddings,
    ropeBase: fields.rotary_emb_base,
    rotaryPct: 1,
    normEpsilon: fields.layer_norm_epsilon,
    useDynamicNtk: fields.use_dynamic_ntk,
    useLogn: fields.use_logn_attn,
    hasQkvBias: true,
    hasLinearBias: !fields.no_bias,
    tieWordEmbeddings: false,
    dtype: configDtype(fields, raw, file),
  };
}

function requireQwen(raw: JsonObject, file: string): void {
  const architectures = raw["architectures"] ?? undefined;
  const modelType = raw["model_type"] ?? undefined;
  const isArchitecture =
    architectures === undefined ||
    (Array.isArray(architectures) && architectures.includes("QWenLMHeadModel"));
  const isType = modelType === undefined || modelType === "qwen";
  const saysNothing = architectures === undefined && modelType === undefined;
  if (!isArchitecture || !isType || saysNothing) {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${file}: architectures ${shown(architectures)} with model_type ${shown(modelType)} is not supported; supported is QWenLMHeadModel with model_type "qwen" (Qwen 1.8B, 7B, 14B, 72B of 2023; not Qwen1.5, Qwen2 or later)`,
    );
  }
  for (const part of ["visual", "audio"]) {
    if (isJsonObject(raw[part])) {
      throw new CheckpointError(
        "CHECKPOINT_UNSUPPORTED",
        `${file}: field ${part}: this is a Qwen-VL or Qwen-Audio model; only text models are supported`,
      );
    }
  }
}

/** A null counts as absent. padded_vocab_size goes before vocab_size: it is what the tensors have. */
function withCurrentNames(raw: JsonObject, file: string): JsonObject {
  const fields: Record<string, JsonValue> = {};
  for (const name of Object.keys(schema.shape)) {
    const value = raw[name];
    if (value !== null && value !== undefined) fields[name] = value;
  }
  for (const [current, old] of Object.entries(oldNames)) {
    const value = raw[old];
    if (value === null || value === undefined) continue;
    const newer = fields[current];
    if (newer !== undefined && newer !== value) {
      throw new CheckpointError(
        "CHECKPOINT_CONFIG",
        `${file}: ${current} is ${shown(newer)} but its older name ${old} says ${shown(value)}; remove one`,
      );
    }
    fields[current] = value;
  }
  const padded = raw["padded_vocab_size"] ?? null;
  if (padded !== null) fields["vocab_size"] = padded;
  const theta = raw["rope_theta"] ?? null;
  if (theta !== null) fields["rotary_emb_base"] ??= theta;
  return fields;
}

function fieldError(error: z.ZodError, raw: JsonObject, file: string): CheckpointError {
  const issue = error.issues[0];
  const name = String(issue?.path[0]);
  const old = Object.entries(oldNames).find(([current]) => current === name)?.[1];
  const got = raw[name] ?? (old === undefined ? undefined : raw[old]);
  const names = old === undefined ? name : `${name} (or ${old})`;
  return new CheckpointError(
    "CHECKPOINT_CONFIG",
    got === undefined
      ? `${file}: field ${names} is missing`
      : `${file}: field ${names}: ${issue?.message}; got ${shown(got)}`,
    { cause: error },
  );
}

function refuseUnsupported(fields: Fields, file: string): void {
  const refuse = (field: string, got: unknown, expected: string) => {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${file}: ${field} ${shown(got)} is not supported; expected ${expected}, as in every published Qwen v1 model`,
    );
  };
  if (fields.tie_word_embeddings) refuse("tie_word_embeddings", true, "false");
  if (fields.rotary_pct !== 1) refuse("rotary_pct", fields.rotary_pct, "1.0");
  if (!fields.scale_attn_weights) refuse("scale_attn_weights", false, "true");
}

function requireConsistent(fields: Fields, file: string): void {
  const { hidden_size: hidden, num_attention_heads: heads, kv_channels: headDim } = fields;
  const refuse = (problem: string) => {
    throw new CheckpointError("CHECKPOINT_CONFIG", `${file}: ${problem}`);
  };
  if (heads * headDim !== hidden) {
    refuse(
      `num_attention_heads ${heads} times kv_channels ${headDim} is ${heads * headDim}; expected hidden_size ${hidden}`,
    );
  }
  if (headDim % 2 !== 0) refuse(`kv_channels ${headDim} is odd; rotary embedding needs pairs`);
  if (fields.intermediate_size % 2 !== 0) {
    refuse(
      `intermediate_size ${fields.intermediate_size} is odd; expected twice the width of w1 and w2`,
    );
  }
}

function configDtype(fields: Fields, raw: JsonObject, file: string): QwenConfig["dtype"] {
  const set = (["bf16", "fp16", "fp32"] as const).filter((flag) => fields[flag]);
  if (set.length > 1) {
    throw new CheckpointError(
      "CHECKPOINT_CONFIG",
      `${file}: ${set.join(" and ")} are all true; expected at most one`,
    );
  }
  const [flag] = set;
  if (flag !== undefined) return flags[flag];
  const named = raw["torch_dtype"] ?? raw["dtype"] ?? raw["params_dtype"] ?? "auto";
  const name = typeof named === "string" ? named.replace(/^torch\./, "") : named;
  if (name === "bfloat16" || name === "float16" || name === "float32" || name === "auto") {
    return name;
  }
  throw new CheckpointError(
    "CHECKPOINT_CONFIG",
    `${file}: torch_dtype ${shown(named)} is unknown; expected bfloat16, float16, float32 or auto`,
  );
}
