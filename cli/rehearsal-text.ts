// What `quantize` says before it begins, and instead of beginning with --dry-run.
import type { Recipe, Rehearsal } from "../quantizer/index.ts";
import { describeRecipe, describeRule } from "./quantize-summary.ts";
import { formatBytes, plural } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";

/** One line for each loader that will not take the result. */
export function describeLimits(limits: Rehearsal["limits"]): readonly string[] {
  return limits.map(
    ({ title, reasons }) => `note: the result will not load in ${title}: ${reasons.join("; ")}`,
  );
}

export function renderRehearsal(
  rehearsal: Rehearsal,
  context: { readonly recipe: Recipe; readonly dir: string; readonly colors: Output["colors"] },
): string {
  const { linears, tensorBytes, weightFiles, memory, merged, continues } = rehearsal;
  const { colors, dir, recipe } = context;
  const bits = rehearsal.bitsPerWeight.toFixed(2);
  return [
    colors.bold(describeRecipe(recipe)),
    ...recipe.rules.map((rule) => `  ${describeRule(rule)}`),
    `  would quantize ${plural(linears, "linear")} to ${bits} bits per weight`,
    ...(merged.length === 0
      ? []
      : [`  after merging an adapter into ${plural(merged.length, "tensor")}`]),
    `  would write ${formatBytes(tensorBytes)} in ${plural(weightFiles, "weight file")} to ${dir}`,
    `  would take up to ${formatBytes(memory.peak)} of memory` +
      (memory.spilled > 0
        ? `, and ${formatBytes(memory.spilled)} on the disk for hidden states meanwhile`
        : ""),
    ...(continues ? ["  would continue the interrupted run that waits there"] : []),
    "Everything is in order; nothing was written.",
  ].join("\n");
}
