// What a run would take and give, said beforehand.
import type { Device } from "../kernels/index.ts";
import {
  type LoaderLimit,
  type Model,
  openModel,
  peekBlock,
  plannedTensorParallelSizes,
  planShards,
  type TensorParallelSize,
  totalTensorBytes,
} from "../runtime/index.ts";
import { openAdapter } from "./adapter.ts";
import { sampledOutputs } from "./measure.ts";
import { type CalibrationExtent, type MemoryNeed, memoryNeed } from "./memory.ts";
import { methods, refineProducts, refineSweeps, retargetProducts } from "./methods/index.ts";
import { bitsPerWeight, quantizedEntries } from "./output.ts";
import type { PhaseSeconds } from "./phases.ts";
import { measureRates, type Rates } from "./rates.ts";
import type { Recipe } from "./recipe.ts";
import { loaderLimits } from "./rehearsal.ts";
import { declaredQuantization, quantizedLinears } from "./schemes.ts";
import { linearExtents } from "./source.ts";

export type QuantizationPlan = {
  /** Bytes of all tensors of the result, exactly. */
  readonly tensorBytes: number;
  readonly weightFiles: number;
  /** Of the quantized linears, as in the report of a run. */
  readonly bitsPerWeight: number;
  readonly linears: number;
  readonly memory: MemoryNeed;
  /** Estimated from short trials on this machine; reading and writing of files is not in it. */
  readonly phases: PhaseSeconds;
  /** Which other programs do not do what the recipe asks for. */
  readonly limits: readonly LoaderLimit[];
  /** GPUs that vLLM can split the result over. */
  readonly tensorParallel: readonly TensorParallelSize[];
};

/**
 * Plans a run. Reads headers only, but an adapter whole; measures this machine for some seconds.
 *
 * @throws QuantizeError for an adapter that cannot be merged
 * @throws CheckpointError for a model that cannot be opened, or whose extents do not suit the recipe
 */
export async function planQuantization(options: {
  readonly source: string;
  /** Directory of a LoRA adapter to be merged. */
  readonly adapter?: string | undefined;
  readonly recipe: Recipe;
  readonly calibration: CalibrationExtent;
  readonly device: Device;
  /** Of this program. */
  readonly version: string;
}): Promise<QuantizationPlan> {
  const { source, recipe, calibration, device } = options;
  using adapter =
    options.adapter === undefined ? undefined : await openAdapter(options.adapter, source, device);
  using model = openModel(source, device);
  const linears = linearExtents(source, device);
  const entries = quantizedEntries(model.tensorShapes(), linears, recipe);
  const shards = planShards(entries, recipe.maxShardBytes);
  const rates = await measureRates(device, {
    inFeatures: model.shape.width,
    hessianDtype: recipe.hessianDtype,
  });
  return {
    tensorBytes: totalTensorBytes(shards),
    weightFiles: shards.length,
    bitsPerWeight: bitsPerWeight(entries, linears),
    linears: quantizedLinears(linears, recipe).size,
    memory: memoryNeed(model, recipe, calibration, adapter),
    phases: estimatePhases(model, { recipe, calibration, rates }),
    limits: loaderLimits(model.checkpoint, { recipe, linears, version: options.version }),
    tensorParallel: plannedTensorParallelSizes(
      model.checkpoint,
      declaredQuantization(recipe, linears),
    ),
  };
}

type PhaseContext = {
  readonly recipe: Recipe;
  readonly calibration: CalibrationExtent;
  readonly rates: Rates;
};

/** Operations of every step by the extents of a block, over the machine's rates. */
function estimatePhases(model: Model, context: PhaseContext): PhaseSeconds {
  const { rates, recipe } = context;
  const { tokens, longest } = context.calibration;
  const { layers, width, vocabulary } = model.shape;
  const solves = methods[recipe.method].needsHessian;
  // The float model runs beside where a recipe aims at it.
  const hasOriginals = solves && recipe.gptaq > 0;
  const perProduct = 1 / rates.linear + (hasOriginals ? 1 / rates.float : 0);
  using block = peekBlock(model, 0);
  // Scores and weighted sums, over half of the positions on average; kernels of attention reach about half of a product's rate.
  let forward = (2 * tokens * longest * width * (hasOriginals ? 2 : 1)) / (rates.linear / 2);
  let hessian = 0;
  let solve = 0;
  for (const { linears, addsToResidual } of block.stages) {
    const extents = linears.map((name) => block.linear(name));
    const n = extents[0]?.inFeatures ?? 0;
    // Of a square half is computed, of other products all.
    const crosses = hasOriginals ? 2 * n + (addsToResidual ? 2 * width : 0) : 0;
    hessian += (2 * tokens * n * (n + crosses)) / rates.gram;
    if (solves) solve += n ** 3 / rates.factor;
    for (const { outFeatures } of extents) {
      forward += 2 * tokens * n * outFeatures * perProduct;
      solve += solveSeconds(context, n, outFeatures);
    }
  }
  return {
    convert: (2 * vocabulary * width) / rates.converted,
    forward: layers * forward,
    hessian: layers * hessian,
    solve: layers * solve,
  };
}

/** Of one linear, its stage's factor not included. */
function solveSeconds(
  { recipe, calibration, rates }: PhaseContext,
  n: number,
  out: number,
): number {
  const weights = n * out;
  const solves = methods[recipe.method].needsHessian;
  const refines = recipe.refine !== "none";
  // Products of the weight's shape with a square matrix: trailing updates are half of one.
  let products = solves ? 0.5 : 0;
  if (recipe.gptaq > 0) products += retargetProducts;
  if (refines) products += refineProducts;
  // The form of all errors, unless what was spread tells it, and the form of a sample of outputs.
  if (calibration.tokens > 0 && (refines || !solves)) products += 1;
  const sample = calibration.tokens === 0 ? 0 : 2 * Math.min(out, sampledOutputs) * n * n;
  const sweeps = 1 + (refines ? refineSweeps : 0);
  return (sweeps * weights) / rates.rounded + (2 * products * weights * n + sample) / rates.product;
}
