// `--target-bpw`: a budget of bits instead of one width for all.
import type { Command } from "commander";
import type { Segments } from "../calibration/index.ts";
import { type Device, weightBits } from "../kernels/index.ts";
import { type MixedBits, mixBits, type Recipe } from "../quantizer/index.ts";
import type { CommandContext } from "./command.ts";
import { UsageError } from "./errors.ts";
import { plural } from "./terminal/format.ts";

export type BudgetFlags = { readonly targetBpw?: number; readonly adapter?: string };

/** @throws UsageError for a budget with what excludes it */
export function checkBudget(
  command: Command,
  { targetBpw, data }: BudgetFlags & { readonly data?: readonly string[] },
): void {
  if (targetBpw === undefined) return;
  for (const name of ["bits", "groupSize"]) {
    if (command.getOptionValueSource(name) === "default") continue;
    throw new UsageError(
      "--target-bpw chooses bits and group sizes; leave --bits and --group-size out",
    );
  }
  if (data === undefined) throw new UsageError("--target-bpw needs --data FILE to measure on");
}

/** With bits by sensitivity, where a budget of them is given. */
export async function mixedRecipe(
  recipe: Recipe,
  { targetBpw: target, adapter }: BudgetFlags,
  task: {
    readonly source: string;
    readonly segments: Segments;
    readonly device: Device;
  },
  { output, signal }: CommandContext,
): Promise<Recipe> {
  if (target === undefined) return recipe;
  const { source, device, segments } = task;
  const widths = target < leastOfFour ? weightBits : ([4, 8] as const);
  using progress = output.progress(segments.tokens);
  const { recipe: mixed, chosen } = await mixBits(recipe, {
    ...{ source, adapter, device, target, widths, signal, segments: segments.ids },
    onProgress: ({ label, fraction }) => progress.update(label, fraction),
  });
  output.note(describeMixture(chosen));
  return mixed;
}

/** What 4 bits in groups of 128 take, with scales and zeros. */
const leastOfFour = 4 + 20 / 128;

function describeMixture(chosen: MixedBits["chosen"]): string {
  const counts = new Map<string, number>();
  for (const { bits, groupSize, linears } of chosen) {
    const key = `int${bits} in groups of ${groupSize}`;
    counts.set(key, (counts.get(key) ?? 0) + linears.length);
  }
  const parts = [...counts].sort(([, a], [, b]) => b - a);
  return `chosen: ${parts.map(([scheme, count]) => `${plural(count, "linear")} ${scheme}`).join(", ")}`;
}
