// Every operation. Each checks its arguments, enqueues on the device of its tensors and returns at once, with a
// new tensor where it has a result.
export { add, swiglu } from "./activation.ts";
export type { CacheLayer, CacheRows } from "./attention.ts";
export { attention, ropeStoreCache, storeCache } from "./attention.ts";
export type { CacheForm, QuantizedCache } from "./cache-quantization.ts";
export { dequantizeCache, quantizeCache } from "./cache-quantization.ts";
export { cast, copy, countNonFinite } from "./convert.ts";
export { embedding } from "./embedding.ts";
export { gatedLinear, haveSamePlaces, type PackedLinear } from "./gated-linear.ts";
export { gatherColumns, gatherRows, zeroColumns } from "./gather.ts";
export type { GridOptions, RangeSource, RoundedWeight } from "./gptq.ts";
export {
  accumulateSquares,
  findGrid,
  gptqBlock,
  quadraticForm,
  roundToGrid,
  trailingUpdate,
} from "./gptq.ts";
export type { HeadScreen } from "./head-screen.ts";
export { packRows, screenedArgmax } from "./head-screen.ts";
export {
  accumulateCross,
  accumulateGram,
  finishHessian,
  inverseCholesky,
  scaleAndShift,
} from "./hessian.ts";
export type { GptqWeight, WeightBits } from "./linear.ts";
export { linear, linearGptq } from "./linear.ts";
export { type RmsNorm, rmsNorm } from "./norm.ts";
export type { ActivationDtype, PackedLayout, PackedWeight } from "./packed-linear.ts";
export {
  packLinear,
  quantizedLinear,
  restorePacked,
} from "./packed-linear.ts";
export {
  dequantize,
  packWeight,
  packZeros,
  transpose,
  unpackWeight,
  unpackZeros,
} from "./packing.ts";
export { arithmeticPeak, type PeakKind, peakKinds, readAll } from "./peak.ts";
export type { RefineOptions } from "./refine.ts";
export { accumulateProduct, refineBlock, residual } from "./refine.ts";
export { rope, ropeTable } from "./rope.ts";
export {
  type DrawOptions,
  type DrawRow,
  DrawRows,
  noId,
  type SeenIds,
  sample,
} from "./sampling.ts";
export { argmax, klDivergence, logSoftmax, pick } from "./softmax.ts";
export type { CacheTensor, F32, FloatTensor, I32, U8 } from "./types.ts";
