export type {
  Block,
  BlockState,
  LongContext,
  Model,
  ModelShape,
  OpenModelOptions,
  Stage,
  StageContext,
} from "./architecture.ts";
export { peekBlock, walkBlocks } from "./blocks.ts";
export { findNonFinite, type NonFiniteTensor } from "./finite.ts";
export { findForeignFloats } from "./float-comparison.ts";
export { forward, runBlock, stepOptions, withInput } from "./forward.ts";
export {
  type EncodedLinear,
  encodeLinear,
  type QuantizedWeight,
  zeroOffsetOf,
} from "./gptq-format.ts";
export { type HeadMode, headModes } from "./head.ts";
export { floatLinear, gptqLinear, type Linear } from "./linear.ts";
export { loadEveryBlock, openModel } from "./load.ts";
export {
  type KeptPackedWeights,
  type PackedCache,
  type PackedCacheOptions,
  packedCacheFiles,
} from "./packed-cache.ts";
export { lognFactor, ntkAlpha } from "./qwen.ts";
export { compareWithSource, type LinearComparison } from "./source-comparison.ts";
export { Step, type StepPart } from "./step.ts";
export { unusedTensors } from "./unused.ts";
export type { WeightOverlay } from "./weights.ts";
