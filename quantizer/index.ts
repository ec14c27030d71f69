export { type Adapter, openAdapter } from "./adapter.ts";
export {
  type ConversionTarget,
  type ConvertOptions,
  type ConvertReport,
  convertModel,
  floatDtypes,
} from "./convert.ts";
export { DirectoryLock, isLock } from "./directory-lock.ts";
export { QuantizeError, RecipeError } from "./errors.ts";
export { hasInterruptedRun } from "./journal.ts";
export {
  type CalibrationExtent,
  calibrationExtent,
  type MemoryLimit,
  type MemoryPlan,
  planMemory,
} from "./memory.ts";
export { type MergeOptions, type MergeReport, mergeModel } from "./merge.ts";
export { type MixedBits, mixBits } from "./mixed-bits.ts";
export { checkOutputDirectory } from "./output-directory.ts";
export { type QuantizeOptions, quantizeModel } from "./pipeline.ts";
export { planQuantization, type QuantizationPlan } from "./plan.ts";
export type { QuantizeProgress } from "./progress.ts";
export {
  compatModes,
  defaultRecipe,
  grids,
  groupSizes,
  hessianDtypes,
  orders,
  type PresetName,
  parseRecipe,
  presetNames,
  type Recipe,
  type RecipeRule,
  refinements,
  storageDtypes,
} from "./recipe.ts";
export { loaderLimits, type Rehearsal, rehearse } from "./rehearsal.ts";
export type { ConversionReport, LinearReport, QuantizationReport } from "./report.ts";
export { type CollectedStatistics, collectStatistics } from "./statistics-file.ts";
