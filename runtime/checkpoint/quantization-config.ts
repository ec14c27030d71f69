// How a GPTQ checkpoint says that it is one: quantize_config.json, and the same object in config.json.
// Many tools write it with other names and gaps; see BaseQuantizeConfig in auto_gptq/quantization/config.py.

import { join } from "node:path";
import { z } from "zod";
import { type WeightBits, weightBits } from "../../kernels/index.ts";
import { CheckpointError, shown } from "./errors.ts";
import { statPath } from "./file-access.ts";
import { isJsonObject, type JsonObject, type JsonValue, readJsonFile } from "./json.ts";
import { type ModuleRules, parseModuleRules } from "./module-rules.ts";

export type QuantizationConfig = {
  readonly bits: WeightBits;
  /** Inputs that share a scale and zero; -1 for one group over all inputs of a linear. */
  readonly groupSize: number;
  readonly sym: boolean;
  readonly descAct: boolean;
  readonly staticGroups: boolean;
  readonly trueSequential: boolean;
  readonly dampPercent: number;
  /** "gptq" stores zero - 1, "gptq_v2" the zero itself: reading one as the other gives gibberish. */
  readonly checkpointFormat: "gptq" | "gptq_v2";
  /** The quantized linears of a block by stage, when some are left out; absent means all. */
  readonly modulesInBlock?: readonly (readonly string[])[];
  /** Settings of single modules; see `settingsFor`. */
  readonly dynamic?: ModuleRules;
};

type Source = { readonly file: string; readonly fields: JsonObject };

/** The other name of a field. */
const synonyms: Readonly<Record<string, string>> = {
  bits: "w_bit",
  group_size: "q_group_size",
  checkpoint_format: "format",
  quant_method: "method",
};

/** Found at the top, or in `meta` where GPTQModel puts them. */
const recorded = ["static_groups", "true_sequential", "damp_percent"];

/** Two files that disagree about one of these describe different bytes. */
const decisive = [
  ...["bits", "group_size", "sym", "desc_act", "checkpoint_format", "quant_method", "dynamic"],
];

const maxGroupSize = 1_048_576;

const schema = z.object({
  bits: z.number().int(),
  group_size: z.union([z.literal(-1), z.number().int().min(1).max(maxGroupSize)], {
    error: "expected -1 or a positive integer",
  }),
  sym: z.boolean().default(true),
  desc_act: z.boolean().default(false),
  static_groups: z.boolean().default(false),
  true_sequential: z.boolean().default(true),
  damp_percent: z.number().min(0).max(1).default(0.01),
  checkpoint_format: z.string().default("gptq"),
  quant_method: z.string().default("gptq"),
  modules_in_block_to_quantize: z.array(z.array(z.string())).optional(),
});

/** Only looked at to refuse what they announce. */
const refusals = ["version", "is_marlin_format", "pack_dtype", "lm_head"];
const readFields = [...Object.keys(schema.shape), "dynamic", ...refusals];

/**
 * Reads the quantization config of a model directory. quantize_config.json goes before quant_config.json, and both
 * before config.json's quantization_config; a later one fills gaps of an earlier one but may not contradict it.
 *
 * @param rawConfig  config.json as read
 * @returns undefined if the model is not quantized
 * @throws CheckpointError CHECKPOINT_UNSUPPORTED for another method or format, CHECKPOINT_CONFIG for bad values
 */
export function readQuantizationConfig(
  dir: string,
  rawConfig: JsonObject,
): QuantizationConfig | undefined {
  const sources = findSources(dir, rawConfig);
  const [first] = sources;
  if (first === undefined) return undefined;
  for (const { file, fields } of sources) refuseOtherMethods(fields, file);
  const merged = merge(sources);
  const result = schema.safeParse(merged);
  if (!result.success) throw fieldError(result.error, merged, first.file);
  const config = toConfig(result.data, first.file);
  const dynamic = parseModuleRules(merged["dynamic"] ?? {}, `${first.file}: dynamic`);
  return dynamic === undefined ? config : { ...config, dynamic };
}

function findSources(dir: string, rawConfig: JsonObject): readonly Source[] {
  const sources: Source[] = [];
  for (const name of ["quantize_config.json", "quant_config.json"]) {
    const file = join(dir, name);
    if (statPath(file) !== undefined) {
      sources.push({ file, fields: canonical(readJsonFile(file, "CHECKPOINT_CONFIG"), file) });
    }
  }
  const embedded = rawConfig["quantization_config"] ?? null;
  if (embedded !== null) {
    const file = `${join(dir, "config.json")} (quantization_config)`;
    if (!isJsonObject(embedded)) {
      throw new CheckpointError(
        "CHECKPOINT_CONFIG",
        `${file}: expected an object, got ${shown(embedded)}`,
      );
    }
    sources.push({ file, fields: canonical(embedded, file) });
  }
  return sources;
}

/** One spelling per field, nulls dropped. */
function canonical(raw: JsonObject, file: string): JsonObject {
  const fields: Record<string, JsonValue> = {};
  for (const name of readFields) {
    const value = raw[name] ?? null;
    if (value !== null) fields[name] = value;
  }
  for (const [name, other] of Object.entries(synonyms)) {
    const value = raw[other] ?? null;
    if (value === null) continue;
    fields[name] ??= value;
    if (fields[name] !== value) {
      throw new CheckpointError(
        "CHECKPOINT_CONFIG",
        `${file}: ${name} is ${shown(fields[name])} but ${other} says ${shown(value)}; remove one`,
      );
    }
  }
  const meta = isJsonObject(raw["meta"]) ? raw["meta"] : {};
  for (const name of recorded) {
    const value = meta[name] ?? null;
    if (value !== null) fields[name] ??= value;
  }
  return fields;
}

function merge(sources: readonly Source[]): JsonObject {
  const merged: Record<string, JsonValue> = {};
  const origin = new Map<string, string>();
  for (const { file, fields } of sources) {
    for (const [name, value] of Object.entries(fields)) {
      const earlier = merged[name];
      if (earlier === undefined) {
        merged[name] = value;
        origin.set(name, file);
      } else if (decisive.includes(name) && !isSame(earlier, value)) {
        throw new CheckpointError(
          "CHECKPOINT_CONFIG",
          `${file}: ${name} is ${shown(value)} but ${origin.get(name)} says ${shown(earlier)}; delete the file that does not belong to these weights`,
        );
      }
    }
  }
  return merged;
}

function isSame(a: JsonValue, b: JsonValue): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** AWQ and Marlin files share field names with GPTQ but pack weights in another order. */
function refuseOtherMethods(fields: JsonObject, file: string): void {
  const refuse = (what: string) => {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${file}: ${what} is not supported; expected quant_method "gptq" with checkpoint_format "gptq" or "gptq_v2"`,
    );
  };
  const { quant_method: method = "gptq", checkpoint_format: format = "gptq", version } = fields;
  if (typeof version === "string" && /^gem[mv]/i.test(version)) {
    refuse(`AWQ (version ${shown(version)})`);
  }
  if (fields["is_marlin_format"] === true) refuse("the Marlin layout (is_marlin_format)");
  if (method !== "gptq") refuse(`quant_method ${shown(method)}`);
  if (format !== "gptq" && format !== "gptq_v2") refuse(`checkpoint_format ${shown(format)}`);
  const { pack_dtype: packDtype = "int32", lm_head: lmHead } = fields;
  if (packDtype !== "int32") refuse(`pack_dtype ${shown(packDtype)}`);
  if (lmHead === true) refuse("a quantized lm_head");
}

function fieldError(error: z.ZodError, merged: JsonObject, file: string): CheckpointError {
  const issue = error.issues[0];
  const name = String(issue?.path[0]);
  const got = merged[name];
  return new CheckpointError(
    "CHECKPOINT_CONFIG",
    `${file}: field ${name}: ${issue?.message}; got ${got === undefined ? "nothing" : shown(got)}`,
    { cause: error },
  );
}

function toConfig(fields: z.infer<typeof schema>, file: string): QuantizationConfig {
  const { bits, checkpoint_format: format, modules_in_block_to_quantize: modules } = fields;
  const width = weightBits.find((known) => known === bits);
  if (width === undefined) {
    throw new CheckpointError(
      "CHECKPOINT_CONFIG",
      `${file}: bits ${bits} is not a GPTQ width; expected ${weightBits.join(", ")}`,
    );
  }
  return {
    bits: width,
    groupSize: fields.group_size,
    sym: fields.sym,
    descAct: fields.desc_act,
    staticGroups: fields.static_groups,
    trueSequential: fields.true_sequential,
    dampPercent: fields.damp_percent,
    checkpointFormat: format === "gptq_v2" ? "gptq_v2" : "gptq",
    ...(modules === undefined ? {} : { modulesInBlock: modules }),
  };
}
