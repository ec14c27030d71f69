import * as ops from "./ops/index.ts";

export {
  type CudaDevice,
  type CudaOptions,
  cudaDevices,
  openCudaDevice,
} from "./cuda.ts";
export {
  type Device,
  type DeviceKind,
  type DeviceOptions,
  detectedIsa,
  deviceKinds,
  type Isa,
  isaLevels,
  MappedFile,
  type MappedTensorOptions,
  type MemoryUse,
  openDevice,
} from "./device.ts";
export type { DType, DTypeArray } from "./dtype.ts";
export { KernelError, type KernelErrorCode } from "./errors.ts";
export type { Graph } from "./graph.ts";
export { type Candidate, candidates, cpuFeatures, type OperationCandidates } from "./machine.ts";
export type {
  ActivationDtype,
  CacheForm,
  CacheLayer,
  CacheRows,
  CacheTensor,
  DrawOptions,
  DrawRow,
  F32,
  FloatTensor,
  GptqWeight,
  GridOptions,
  HeadScreen,
  I32,
  PackedLinear,
  PackedWeight,
  PeakKind,
  QuantizedCache,
  RangeSource,
  RefineOptions,
  RmsNorm,
  RoundedWeight,
  SeenIds,
  U8,
  WeightBits,
} from "./ops/index.ts";
export { DrawRows, noId } from "./ops/index.ts";
export { weightBits } from "./ops/linear.ts";
export { Tensor } from "./tensor.ts";
export { ops };
