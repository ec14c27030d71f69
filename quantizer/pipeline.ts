// A quantization from its options to its report; the walk over the blocks is run.ts.
import type { Device } from "../kernels/index.ts";
import { openModel, requireReadableCompanions, unusedTensors } from "../runtime/index.ts";
import { openAdapter } from "./adapter.ts";
import { fingerprintOf } from "./journal.ts";
import {
  calibrationExtent,
  countedTokens,
  type MemoryLimit,
  memoryNeed,
  planMemory,
} from "./memory.ts";
import { bitsPerWeight, Output, quantizedEntries } from "./output.ts";
import { PhaseTimes } from "./phases.ts";
import type { QuantizeProgress } from "./progress.ts";
import type { Recipe } from "./recipe.ts";
import type { QuantizationReport } from "./report.ts";
import { linearsArrow } from "./report-arrow.ts";
import { Run } from "./run.ts";
import { declaredQuantization } from "./schemes.ts";
import { checkSource, linearExtents } from "./source.ts";

export type QuantizeOptions = {
  /** Directory of the float model. */
  readonly source: string;
  /** Directory of a LoRA adapter to merge into the weights. */
  readonly adapter?: string | undefined;
  /** Directory for the result; must be empty or absent unless `overwrite`. */
  readonly output: string;
  /** Calibration tokens, never padded. */
  readonly segments: readonly Int32Array[];
  /** Which tokens of each segment the Hessians are made of, 1 or 0; undefined where all are. All run through the model. */
  readonly masks?: readonly (Uint8Array | undefined)[] | undefined;
  /** A file of `collectStatistics` in the place of segments; then they are empty. */
  readonly statistics?: string | undefined;
  readonly recipe: Recipe;
  readonly device: Device;
  /** Of this program, for the result's metadata. */
  readonly version: string;
  /** How the run was started, for the report. */
  readonly command?: string;
  readonly overwrite?: boolean;
  /**
   * Resident memory for the whole program; hidden states beyond it go to a temporary file in the output directory. With
   * `isRequired`, a run that cannot keep to it is refused. Without `memory`, all stay in memory. No result depends on it.
   */
  readonly memory?: MemoryLimit | undefined;
  /**
   * Whether an interrupted run of the same kind is continued ("resume"), or forgotten ("restart"), and whether this one can be
   * ("refuse": it cannot, and leaves nothing behind). Default: "resume".
   */
  readonly onExisting?: "resume" | "restart" | "refuse";
  readonly signal?: AbortSignal | undefined;
  onProgress?(progress: QuantizeProgress): void;
  /** Called once if an interrupted run is continued, with how many tensors and blocks it had completed. */
  onResume?(pieces: number): void;
};

/**
 * Quantizes a model and writes the result.
 *
 * @throws QuantizeError, RecipeError, CheckpointError, KernelError; the signal's reason when aborted. Nothing is then left
 *   under a final name; unless the model or the data is at fault, what is done is kept for the same call to continue.
 */
export async function quantizeModel(options: QuantizeOptions): Promise<QuantizationReport> {
  const started = performance.now();
  const { recipe, device, segments } = options;
  using overlay =
    options.adapter === undefined
      ? undefined
      : await openAdapter(options.adapter, options.source, device);
  using model = openModel(options.source, device, { overlay });
  checkSource(model, options);
  const extent = calibrationExtent(segments, options.statistics);
  const need = memoryNeed(model, recipe, extent, overlay);
  const { budget: budgetBytes } = planMemory(need, options.memory);
  requireReadableCompanions(model.checkpoint.dir);
  const linears = linearExtents(options.source, device);
  const entries = quantizedEntries(model.tensorShapes(), linears, recipe);
  using output = new Output(options.output, options.source, entries, {
    recipe,
    overwrite: options.overwrite ?? false,
    onExisting: options.onExisting ?? "resume",
    declared: declaredQuantization(recipe, linears),
    fingerprint: fingerprintOf(model.checkpoint, recipe, segments, options),
  });
  const phases = new PhaseTimes();
  if (output.resumed > 0) options.onResume?.(output.resumed);
  const run = new Run(options, { model, output, phases, budgetBytes });
  const reports = await run.complete(linears);
  const { tokens } = extent;
  const report = {
    nibble: options.version,
    ...(options.command === undefined ? {} : { command: options.command }),
    source: options.source,
    ...(options.adapter === undefined ? {} : { adapter: options.adapter }),
    ...(options.statistics === undefined ? {} : { statistics: options.statistics }),
    ...(device.kind === "cpu" ? {} : { gpu: describeGpu(device) }),
    recipe,
    calibration: { segments: segments.length, tokens, counted: countedTokens(options) },
    linears: reports,
    unused: unusedTensors(model),
    conversions: output.conversions,
    bitsPerWeight: bitsPerWeight(entries, linears),
    tensorBytes: output.tensorBytes,
    spilledBytes: run.spilledBytes,
    phases: phases.seconds,
    seconds: (performance.now() - started) / 1000,
  };
  return output.finish(model, report, await linearsArrow(reports));
}

function describeGpu({ name, vendorLibraries }: Device): string {
  return vendorLibraries === "" ? name : `${name}, ${vendorLibraries}`;
}
