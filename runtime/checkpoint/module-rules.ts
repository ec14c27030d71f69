// `dynamic` of a quantization config: settings for the modules whose names match an expression. GPTQModel's form, which
// vLLM reads too: "+:EXPRESSION" with settings, "-:EXPRESSION" for modules that stay float.

import { z } from "zod";
import { type WeightBits, weightBits } from "../../kernels/index.ts";
import { CheckpointError, shown } from "./errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";
import { isSafePattern } from "./module-patterns.ts";

/** What a rule may change of a module; what it leaves out is as everywhere. */
export type ModuleOverrides = {
  readonly bits?: WeightBits;
  readonly groupSize?: number;
  readonly sym?: boolean;
  readonly descAct?: boolean;
};

export type ModuleRule = {
  /** An expression that has to match from the start of a module's full name. */
  readonly pattern: string;
  /** "float" for modules that are not quantized. */
  readonly settings: ModuleOverrides | "float";
};

const limits = { rules: 4096, complex: 64, repetitions: 3, groups: 4 } as const;

/** Rules in their order; the first that matches a name counts. */
export class ModuleRules {
  readonly rules: readonly ModuleRule[];
  readonly #expressions: readonly RegExp[];

  /**
   * @param where  file and field, for messages
   * @throws CheckpointError CHECKPOINT_UNSUPPORTED for an expression that could take long, CHECKPOINT_CONFIG for one that
   *   is malformed
   */
  constructor(rules: readonly ModuleRule[], where: string) {
    const complex = rules.filter(
      ({ pattern }) => !isSafePattern(pattern, { ...limits, repetitions: 2 }),
    );
    if (rules.length > limits.rules || complex.length > limits.complex) {
      throw new CheckpointError(
        "CHECKPOINT_UNSUPPORTED",
        `${where}: ${rules.length} rules, ${complex.length} of them with more than two repetitions; expected at most ` +
          `${limits.rules} and ${limits.complex}`,
      );
    }
    this.rules = rules;
    this.#expressions = rules.map(({ pattern }) => compile(pattern, where));
  }

  /** The settings of a module; undefined where no rule is about it. */
  find(name: string): ModuleRule["settings"] | undefined {
    const index = this.#expressions.findIndex((expression) => expression.test(name));
    return this.rules[index]?.settings;
  }

  /** As in the config. */
  toJSON(): JsonObject {
    return Object.fromEntries(
      this.rules.map(({ pattern, settings }): [string, JsonValue] =>
        settings === "float" ? [`-:${pattern}`, {}] : [`+:${pattern}`, settingsJson(settings)],
      ),
    );
  }
}

/**
 * The quantization of one linear where rules may set it apart.
 *
 * @returns undefined where it stays float
 */
export function settingsFor<Settings extends { readonly dynamic?: ModuleRules }>(
  settings: Settings,
  name: string,
): (Settings & ModuleOverrides) | undefined {
  const found = settings.dynamic?.find(name);
  if (found === undefined) return settings;
  return found === "float" ? undefined : { ...settings, ...found };
}

/** Not bits of the stored tensors: how codes were found, or what a loader may do besides. */
const overridesSchema = z.object({
  bits: z.number().int().optional(),
  group_size: z
    .union([z.literal(-1), z.number().int().min(1).max(1_048_576)], {
      error: "expected -1 or a positive integer",
    })
    .optional(),
  sym: z.boolean().optional(),
  desc_act: z.boolean().optional(),
});

/** They change how a module is stored, and have only one supported value. */
const fixed: Readonly<Record<string, readonly JsonValue[]>> = {
  pack_dtype: ["int32"],
  quant_method: ["gptq"],
  method: ["gptq"],
};

/**
 * Reads `dynamic`.
 *
 * @param where  file and field, for messages
 * @returns undefined if there is no rule
 * @throws CheckpointError CHECKPOINT_CONFIG for bad values, CHECKPOINT_UNSUPPORTED for settings or expressions that are not
 *   supported
 */
export function parseModuleRules(dynamic: JsonValue, where: string): ModuleRules | undefined {
  if (!isJsonObject(dynamic)) {
    throw new CheckpointError(
      "CHECKPOINT_CONFIG",
      `${where}: expected an object of rules, got ${shown(dynamic)}`,
    );
  }
  const entries = Object.entries(dynamic);
  if (entries.length === 0) return undefined;
  const rules = entries.map(([key, value]): ModuleRule => {
    const pattern = key.replace(/^[+-]:/, "");
    if (key.startsWith("-:")) return { pattern, settings: "float" };
    return { pattern, settings: parseOverrides(value, `${where}: ${shown(key)}`) };
  });
  return new ModuleRules(rules, where);
}

function parseOverrides(value: JsonValue, where: string): ModuleOverrides {
  const result = overridesSchema.safeParse(value);
  if (!result.success || !isJsonObject(value)) {
    const issue = result.error?.issues[0];
    const field = issue?.path[0];
    throw new CheckpointError(
      "CHECKPOINT_CONFIG",
      `${where}${field === undefined ? "" : `: ${String(field)}`}: ${issue?.message}`,
    );
  }
  for (const [field, supported] of Object.entries(fixed)) {
    const given = value[field] ?? null;
    if (given === null || supported.includes(given)) continue;
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${where}: ${field} ${shown(given)} is not supported; expected ${supported.map(shown).join(", ")}`,
    );
  }
  const { bits, group_size: groupSize, sym, desc_act: descAct } = result.data;
  const width = weightBits.find((known) => known === bits);
  if (bits !== undefined && width === undefined) {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${where}: bits ${bits} is not supported; expected ${weightBits.join(", ")}`,
    );
  }
  return {
    ...(width === undefined ? {} : { bits: width }),
    ...(groupSize === undefined ? {} : { groupSize }),
    ...(sym === undefined ? {} : { sym }),
    ...(descAct === undefined ? {} : { descAct }),
  };
}

function settingsJson({ bits, groupSize, sym, descAct }: ModuleOverrides): JsonObject {
  return {
    ...(bits === undefined ? {} : { bits }),
    ...(groupSize === undefined ? {} : { group_size: groupSize }),
    ...(sym === undefined ? {} : { sym }),
    ...(descAct === undefined ? {} : { desc_act: descAct }),
  };
}

function compile(pattern: string, where: string): RegExp {
  if (!isSafePattern(pattern, limits)) {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${where}: the expression ${shown(pattern)} is not supported; expected at most ${limits.repetitions} repetitions ` +
        `and ${limits.groups} groups, none of them repeated`,
    );
  }
  try {
    // Python's re.match: from the start, not to the end.
    return new RegExp(`^(?:${pattern})`, "u");
  } catch (cause) {
    throw new CheckpointError(
      "CHECKPOINT_CONFIG",
      `${where}: ${shown(pattern)} is no valid expression`,
      { cause },
    );
  }
}
