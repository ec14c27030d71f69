// Everything that can be checked of a run without computing or writing anything.
import {
  type JsonObject,
  type LoaderLimit,
  openModel,
  plannedLimits,
  planShards,
  requireReadableCompanions,
  totalTensorBytes,
} from "../runtime/index.ts";
import { openAdapter } from "./adapter.ts";
import { hasInterruptedRun } from "./journal.ts";
import { calibrationExtent, type MemoryPlan, memoryNeed, planMemory } from "./memory.ts";
import { bitsPerWeight, quantizedEntries, resultConfigs } from "./output.ts";
import { checkOutputDirectory } from "./output-directory.ts";
import type { QuantizeOptions } from "./pipeline.ts";
import type { Recipe } from "./recipe.ts";
import { declaredQuantization, quantizedLinears, type StagedLinears } from "./schemes.ts";
import { checkSource, linearExtents } from "./source.ts";

export type Rehearsal = {
  readonly linears: number;
  /** Bytes of all tensors of the result, exactly. */
  readonly tensorBytes: number;
  readonly weightFiles: number;
  readonly bitsPerWeight: number;
  readonly memory: MemoryPlan;
  /** Names of tensors that an adapter would change. */
  readonly merged: readonly string[];
  /** Whether the run would continue an interrupted one. */
  readonly continues: boolean;
  /** Which other programs do not do what the recipe asks for, and why. */
  readonly limits: readonly LoaderLimit[];
};

/**
 * Refuses what a run with these options would refuse before it computes anything.
 *
 * @throws QuantizeError, RecipeError, CheckpointError
 */
export async function rehearse(options: QuantizeOptions): Promise<Rehearsal> {
  const { source, recipe, device } = options;
  using overlay =
    options.adapter === undefined ? undefined : await openAdapter(options.adapter, source, device);
  using model = openModel(source, device, { overlay });
  checkSource(model, options);
  const need = memoryNeed(
    model,
    recipe,
    calibrationExtent(options.segments, options.statistics),
    overlay,
  );
  const memory = planMemory(need, options.memory);
  requireReadableCompanions(model.checkpoint.dir);
  const isWaiting = hasInterruptedRun(options.output);
  checkOutputDirectory(options.output, source, isWaiting || (options.overwrite ?? false));
  const linears = linearExtents(source, device);
  const entries = quantizedEntries(model.tensorShapes(), linears, recipe);
  const shards = planShards(entries, recipe.maxShardBytes);
  return {
    linears: quantizedLinears(linears, recipe).size,
    tensorBytes: totalTensorBytes(shards),
    weightFiles: shards.length,
    bitsPerWeight: bitsPerWeight(entries, linears),
    memory,
    merged: overlay?.names ?? [],
    continues: isWaiting && options.onExisting !== "restart",
    limits: loaderLimits(model.checkpoint, { recipe, linears, version: options.version }),
  };
}

/** What of a recipe some other programs do not do, by the rules that `verify` goes by. */
export function loaderLimits(
  source: { readonly dir: string; readonly config: JsonObject },
  {
    recipe,
    linears,
    version,
  }: { readonly recipe: Recipe; readonly linears: StagedLinears; readonly version: string },
): readonly LoaderLimit[] {
  const declared = declaredQuantization(recipe, linears);
  const { config } = resultConfigs(source.config, { recipe, declared, version });
  return plannedLimits(source.dir, config);
}
