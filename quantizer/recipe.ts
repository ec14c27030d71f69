import { type WeightBits, weightBits } from "../kernels/index.ts";
import type { QuantizationConfig } from "../runtime/index.ts";
import { RecipeError } from "./errors.ts";
import { type MethodName, methodNames } from "./methods/index.ts";

export const groupSizes = [32, 64, 128, -1] as const;
export const storageDtypes = ["f16", "bf16"] as const;
export const hessianDtypes = ["bf16", "f32"] as const;
export const orders = ["in-order", "act-order", "act-order-static"] as const;
export const grids = ["min-max", "mse", "importance"] as const;
export const refinements = ["none", "scales", "codes"] as const;
export const compatModes = ["none", "autogptq"] as const;

/**
 * Sets the linears apart whose names match a pattern: `*` stands for any characters, `?` for one, and a match may begin after
 * any dot of the full name, such as transformer.h.0.mlp.c_proj.
 */
export type RecipeRule =
  | { readonly pattern: string; readonly skip: true }
  | {
      readonly pattern: string;
      readonly bits?: Recipe["bits"];
      readonly groupSize?: Recipe["groupSize"];
    };

/** How a model is quantized; every field has been checked. */
export type Recipe = {
  readonly method: MethodName;
  readonly bits: WeightBits;
  /** Inputs that share a scale; −1 for all inputs of an output channel. */
  readonly groupSize: (typeof groupSizes)[number];
  readonly symmetric: boolean;
  /**
   * Order in which columns are rounded: as stored, or by descending Hessian diagonal ("act-order"), with groups of the
   * permuted columns or ("static") of the stored ones, which needs no group index when the result is used.
   */
  readonly order: (typeof orders)[number];
  /**
   * Whether a group's scale covers all its weights, or clips some where that rounds the others better: all alike ("mse"), or
   * each by its input's diagonal of the Hessian ("importance").
   */
  readonly grid: (typeof grids)[number];
  /**
   * Whether symmetric scales may be negative: the one code more on the negative side then lies where the largest weight is, and
   * steps are a sixteenth finer with 4 bits.
   */
  readonly signedScales: boolean;
  /** What coordinate descent improves after rounding: scales with fixed codes, or both. */
  readonly refine: (typeof refinements)[number];
  /**
   * How far to aim at what the float model has in the place of a layer's inputs, rather than at the layer's own output on inputs
   * that quantized layers gave it: 0 for GPTQ, 1 for the whole way (GPTAQ, arXiv:2504.02692).
   */
  readonly gptaq: number;
  /** Fraction of the mean Hessian diagonal added to it. */
  readonly damping: number;
  /** What calibration activations are rounded to before the Hessian is summed, in f32, from their products. */
  readonly hessianDtype: (typeof hessianDtypes)[number];
  /** What scales and everything that is not packed are stored as. */
  readonly dtype: (typeof storageDtypes)[number];
  /** "autogptq" reproduces AutoGPTQ's results: stale group ranges, unrounded scales, half grids. */
  readonly compat: (typeof compatModes)[number];
  /** Whether linears without a bias get one of zeros, as in the official releases; some loaders need it. */
  readonly zeroBias: boolean;
  readonly maxShardBytes: number;
  /** The first that matches a linear counts. */
  readonly rules: readonly RecipeRule[];
};

export const presetNames = ["best", "fast", "compat"] as const;
export type PresetName = (typeof presetNames)[number];

/** What `presets` have in common. */
const common: Recipe = {
  method: "gptq",
  bits: 4,
  groupSize: 128,
  symmetric: true,
  order: "act-order-static",
  grid: "importance",
  signedScales: true,
  refine: "none",
  gptaq: 0,
  damping: 0.01,
  hessianDtype: "bf16",
  dtype: "f16",
  compat: "none",
  zeroBias: true,
  maxShardBytes: 2_000_000_000,
  rules: [],
};

/** The choices of a recipe that trade time for accuracy, measured in LOG.md. */
const presets: Readonly<Record<PresetName, Recipe>> = {
  /** The least error; the float model runs beside the quantized one. */
  best: { ...common, refine: "codes", gptaq: 0.75, damping: 0.05 },
  /** What costs no time beside plain GPTQ. */
  fast: common,
  /** AutoGPTQ's results. */
  compat: {
    ...common,
    order: "in-order",
    ...{ grid: "min-max", signedScales: false, hessianDtype: "f32", compat: "autogptq" },
  },
};

export const defaultRecipe: Recipe = presets.best;

/** What the options given leave open: some choices have no meaning with others. */
function baseOf(options: Partial<Recipe>, preset: PresetName): Recipe {
  const base = presets[options.compat === "autogptq" ? "compat" : preset];
  const signedScales = base.signedScales && (options.symmetric ?? true);
  if (options.method !== "rtn") return { ...base, signedScales };
  // Rounding to nearest has no order and no Hessian.
  const grid = base.grid === "importance" ? "mse" : base.grid;
  return { ...base, signedScales, grid, order: "in-order", refine: "none", gptaq: 0 };
}

/**
 * Completes and checks a recipe.
 *
 * @param preset  what the options leave open
 * @throws RecipeError RECIPE_OPTION naming the option, what is allowed and what was given
 */
export function parseRecipe(options: Partial<Recipe>, preset: PresetName = "best"): Recipe {
  const recipe: Recipe = { ...baseOf(options, preset), ...options };
  oneOf("method", recipe.method, methodNames);
  oneOf("bits", recipe.bits, weightBits);
  oneOf("group size", recipe.groupSize, groupSizes);
  oneOf("order", recipe.order, orders);
  oneOf("grid", recipe.grid, grids);
  oneOf("refine", recipe.refine, refinements);
  oneOf("hessian dtype", recipe.hessianDtype, hessianDtypes);
  oneOf("dtype", recipe.dtype, storageDtypes);
  oneOf("compat", recipe.compat, compatModes);
  checkNumbers(recipe);
  for (const rule of recipe.rules) checkRule(rule);
  checkTogether(recipe);
  return recipe;
}

function checkNumbers({ damping, gptaq, maxShardBytes: shard }: Recipe): void {
  if (!(damping > 0 && damping <= 1)) {
    throw optionError("damping", damping, "a fraction above 0 and at most 1");
  }
  if (!(gptaq >= 0 && gptaq <= 1)) throw optionError("gptaq", gptaq, "a fraction from 0 to 1");
  if (!Number.isSafeInteger(shard) || shard < 1) {
    throw optionError("shard size", shard, "a positive number of bytes");
  }
}

/** Options that exclude each other. */
function checkTogether(recipe: Recipe): void {
  if (recipe.compat === "autogptq") {
    const needed = { grid: "min-max", signedScales: false, refine: "none", gptaq: 0 } as const;
    requireValues(recipe, needed, "with compat autogptq, which has nothing else");
  }
  if (!recipe.symmetric) requireValues(recipe, { signedScales: false }, "on asymmetric grids");
  if (recipe.method !== "rtn") return;
  const why = "since rtn rounds every column by itself";
  requireValues(recipe, { order: "in-order", refine: "none", gptaq: 0 }, why);
  if (recipe.grid === "importance") throw optionError("grid", recipe.grid, `mse, ${why}`);
}

function requireValues(recipe: Recipe, needed: Partial<Recipe>, why: string): void {
  for (const [key, value] of Object.entries(needed)) {
    const actual = recipe[key as keyof Recipe];
    if (actual === value) continue;
    const name = key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    throw optionError(name, actual, `${value} ${why}`);
  }
}

/** More repetitions would take a reader too long. */
const maxStars = 2;

function checkRule(rule: RecipeRule): void {
  const { pattern } = rule;
  const stars = pattern.match(/\*+/g)?.length ?? 0;
  if (!/^[\w.*?-]{1,100}$/.test(pattern) || stars > maxStars) {
    throw optionError(
      "pattern",
      JSON.stringify(pattern),
      `part of a module's name with ? and at most ${maxStars} times *, such as h.0.* or mlp.c_proj`,
    );
  }
  if ("skip" in rule) return;
  if (rule.bits !== undefined) oneOf(`bits of "${pattern}"`, rule.bits, weightBits);
  if (rule.groupSize !== undefined) {
    oneOf(`group size of "${pattern}"`, rule.groupSize, groupSizes);
  }
}

/** What a checkpoint made with this recipe declares about itself, apart from its rules. */
export function quantizationOf(recipe: Recipe): QuantizationConfig {
  return {
    bits: recipe.bits,
    groupSize: recipe.groupSize,
    sym: recipe.symmetric,
    // With static groups the stored order of groups is the ordinary one: loaders need not know.
    descAct: recipe.order === "act-order",
    staticGroups: recipe.order === "act-order-static",
    trueSequential: true,
    dampPercent: recipe.damping,
    // The v1 layout stores zero − 1, which cannot express an asymmetric zero of 0.
    checkpointFormat: recipe.symmetric ? "gptq" : "gptq_v2",
  };
}

function oneOf<T>(name: string, value: T, allowed: readonly T[]): void {
  if (!allowed.includes(value)) throw optionError(name, value, `one of ${allowed.join(", ")}`);
}

function optionError(name: string, value: unknown, expected: string): RecipeError {
  return new RecipeError("RECIPE_OPTION", `${name} is ${String(value)}; expected ${expected}`);
}
