// A recipe with bits by sensitivity: as many bits per weight as asked, where they help most.
import type { Device } from "../kernels/index.ts";
import { openModel } from "../runtime/index.ts";
import { openAdapter } from "./adapter.ts";
import { allocate, type StorageOption, type StorageUnit } from "./allocation.ts";
import { RecipeError } from "./errors.ts";
import type { Recipe, RecipeRule } from "./recipe.ts";
import { type LinearScheme, ruleOf } from "./schemes.ts";
import { measureSensitivity, type SensitivityOptions } from "./sensitivity.ts";

export type MixedBitsOptions = SensitivityOptions & {
  readonly source: string;
  readonly adapter?: string | undefined;
  readonly device: Device;
  /** Bits per weight of the quantized linears at most, scales and zeros included */
  readonly target: number;
  /** Widths that may be chosen, such as those that a loader knows */
  readonly widths: readonly Recipe["bits"][];
};

export type MixedBits = {
  readonly recipe: Recipe;
  /** By unit: what was chosen, and what it is estimated to cost in nats */
  readonly chosen: readonly (StorageOption & { readonly linears: readonly string[] })[];
};

/**
 * Sets the bits and group size of every linear that the recipe's own rules say nothing of.
 *
 * @throws RecipeError RECIPE_OPTION if the target is less than the cheapest choice takes
 */
export async function mixBits(recipe: Recipe, options: MixedBitsOptions): Promise<MixedBits> {
  const { source, adapter, device, target, widths } = options;
  using overlay = adapter === undefined ? undefined : await openAdapter(adapter, source, device);
  using model = openModel(source, device, { overlay });
  const measured = await measureSensitivity(model, options);
  const units = measured.filter(({ linears }) =>
    linears.every((name) => ruleOf(recipe, name) === undefined),
  );
  const allowed = units.map((unit) => withWidths(unit, widths));
  const chosen = allocate(allowed, target);
  if (chosen === undefined) throw tooFew(target, allowed);
  const base = mostFrequent(allowed, chosen);
  const rules = allowed.flatMap(({ linears }, i) => {
    const option = chosen[i];
    if (option === undefined || isSame(option, base)) return [];
    return linears.map((name) => ruleFor(name, option));
  });
  return {
    recipe: { ...recipe, ...base, rules: [...recipe.rules, ...rules] },
    chosen: chosen.map((option, i) => ({ ...option, linears: allowed[i]?.linears ?? [] })),
  };
}

function withWidths(unit: StorageUnit, widths: readonly number[]): StorageUnit {
  return { ...unit, options: unit.options.filter(({ bits }) => widths.includes(bits)) };
}

function isSame(option: StorageOption, scheme: LinearScheme): boolean {
  return option.bits === scheme.bits && option.groupSize === scheme.groupSize;
}

/** What most weights get: the others are exceptions, of which there should be few. */
function mostFrequent(
  units: readonly StorageUnit[],
  chosen: readonly StorageOption[],
): LinearScheme {
  const counts = new Map<string, { weights: number; option: StorageOption }>();
  for (const [i, option] of chosen.entries()) {
    const key = `${option.bits} ${option.groupSize}`;
    const entry = counts.get(key) ?? { weights: 0, option };
    counts.set(key, { option, weights: entry.weights + (units[i]?.weights ?? 0) });
  }
  const [first] = [...counts.values()].sort((a, b) => b.weights - a.weights);
  if (first === undefined) throw new RangeError("no linear is left to choose for");
  const { bits, groupSize } = first.option;
  return { bits, groupSize };
}

function ruleFor(name: string, option: StorageOption): RecipeRule {
  const { bits, groupSize } = option;
  return { pattern: name.replace(/^transformer\./, ""), bits, groupSize };
}

function tooFew(target: number, units: readonly StorageUnit[]): RecipeError {
  const total = units.reduce((sum, { weights }) => sum + weights, 0);
  const least = units.reduce(
    (sum, { weights, options }) => sum + weights * Math.min(...options.map(({ cost }) => cost)),
    0,
  );
  return new RecipeError(
    "RECIPE_OPTION",
    `target bpw is ${target}; expected at least ${(Math.ceil((1000 * least) / total) / 1000).toFixed(3)}`,
  );
}
