// Which bits and group size each linear gets, by the rules of a recipe, and how a checkpoint says so.
import { type ModuleRule, ModuleRules, type QuantizationConfig } from "../runtime/index.ts";
import { RecipeError } from "./errors.ts";
import type { LinearExtents } from "./output.ts";
import { quantizationOf, type Recipe, type RecipeRule } from "./recipe.ts";

export type LinearScheme = Pick<Recipe, "bits" | "groupSize">;

export type StagedLinear = {
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Within its block, such as "attn.c_attn" */
  readonly part: string;
  readonly stage: number;
};

/** The linears of a model by their full names. */
export type StagedLinears = ReadonlyMap<string, StagedLinear>;

/** The rule that sets a linear apart, by its full name; undefined if none does. */
export function ruleOf({ rules }: Recipe, name: string): RecipeRule | undefined {
  return rules.find(({ pattern }) => matches(pattern, name));
}

/**
 * How one linear is quantized.
 *
 * @param name  its full name, such as transformer.h.0.attn.c_attn
 * @returns undefined for one that stays float
 */
export function schemeOf(recipe: Recipe, name: string): LinearScheme | undefined {
  const { bits, groupSize } = recipe;
  const rule = ruleOf(recipe, name);
  if (rule === undefined) return { bits, groupSize };
  if ("skip" in rule) return undefined;
  return { bits: rule.bits ?? bits, groupSize: rule.groupSize ?? groupSize };
}

/**
 * The linears that are quantized, each with its scheme.
 *
 * @throws RecipeError RECIPE_OPTION for a rule that changes nothing of this model, or if no linear is left
 */
export function quantizedLinears(
  linears: LinearExtents,
  recipe: Recipe,
): ReadonlyMap<string, { inFeatures: number; outFeatures: number } & LinearScheme> {
  const names = [...linears.keys()];
  for (const [i, { pattern }] of recipe.rules.entries()) {
    const found = names.filter((name) => matches(pattern, name));
    const earlier = recipe.rules.slice(0, i);
    const isNew = (name: string) => !earlier.some((rule) => matches(rule.pattern, name));
    if (found.some(isNew)) continue;
    throw new RecipeError(
      "RECIPE_OPTION",
      found.length === 0
        ? `pattern "${pattern}" matches no linear of the model; their names are such as ${names[0]}`
        : `pattern "${pattern}" has no effect: earlier patterns match all that it does, and skips come first`,
    );
  }
  const chosen = [...linears].flatMap(([name, { inFeatures, outFeatures }]) => {
    const scheme = schemeOf(recipe, name);
    return scheme === undefined ? [] : [[name, { inFeatures, outFeatures, ...scheme }] as const];
  });
  if (chosen.length === 0) {
    throw new RecipeError("RECIPE_OPTION", "every linear is skipped; nothing would be quantized");
  }
  return new Map(chosen);
}

/** What a checkpoint of these linears made with this recipe declares about itself. */
export function declaredQuantization(recipe: Recipe, linears: StagedLinears): QuantizationConfig {
  const config = quantizationOf(recipe);
  if (recipe.rules.length === 0) return config;
  const rules = recipe.rules.map((rule) => declaredRule(rule, recipe));
  const names = [...linears.keys()];
  const all = [...fusedRules(recipe, rules, names), ...rules];
  const modulesInBlock = quantizedParts(recipe, linears);
  return {
    ...config,
    ...(modulesInBlock === undefined ? {} : { modulesInBlock }),
    dynamic: new ModuleRules(all, "the recipe"),
  };
}

function declaredRule(rule: RecipeRule, recipe: Recipe): ModuleRule {
  const pattern = expressionOf(rule.pattern);
  if ("skip" in rule) return { pattern, settings: "float" };
  const { bits = recipe.bits, groupSize = recipe.groupSize } = rule;
  return { pattern, settings: { bits, groupSize } };
}

/**
 * vLLM looks settings up under the name of the module that w1 and w2 are fused to (get_dynamic_override in gptq_utils.py);
 * no other loader has a module of that name.
 */
function fusedRules(
  recipe: Recipe,
  rules: readonly ModuleRule[],
  names: readonly string[],
): readonly ModuleRule[] {
  const declared = new ModuleRules(rules, "the recipe");
  const text = (settings: unknown) => JSON.stringify(settings);
  const initial = { bits: recipe.bits, groupSize: recipe.groupSize };
  return names.flatMap((name) => {
    if (!name.endsWith(".w1")) return [];
    const fused = name.replace(/w1$/, "gate_up_proj");
    const settings = schemeOf(recipe, name) ?? "float";
    const other = schemeOf(recipe, name.replace(/w1$/, "w2")) ?? "float";
    const isSaid = text(declared.find(fused) ?? initial) === text(settings);
    if (isSaid || text(settings) !== text(other)) return [];
    return [{ pattern: `${fused.replaceAll(".", "\\.")}$`, settings }];
  });
}

/** By stage; undefined unless a part is skipped in every block, which loaders without `dynamic` can be told of. */
function quantizedParts(
  recipe: Recipe,
  linears: StagedLinears,
): readonly (readonly string[])[] | undefined {
  const stages: string[][] = [];
  const kept = new Set<string>();
  const parts = new Set<string>();
  for (const [name, { part, stage }] of linears) {
    parts.add(part);
    if (schemeOf(recipe, name) === undefined || kept.has(part)) continue;
    kept.add(part);
    stages[stage] = [...(stages[stage] ?? []), part];
  }
  return kept.size === parts.size ? undefined : stages.filter((stage) => stage !== undefined);
}

function matches(pattern: string, name: string): boolean {
  return new RegExp(`^(?:${expressionOf(pattern)})`).test(name);
}

/** Of a whole name, or of its end from a dot on. */
function expressionOf(pattern: string): string {
  const own = pattern.replaceAll(".", "\\.").replaceAll("?", ".").replace(/\*+/g, ".*");
  return pattern.startsWith("*") ? `${own}$` : `(^|.*\\.)${own}$`;
}
