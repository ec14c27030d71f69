export { isPartial, writeFileAtomic, writeFully } from "./atomic-file.ts";
export { companionFiles, copyCompanions, requireReadableCompanions } from "./companions.ts";
export { parseQwenConfig, type QwenConfig } from "./config.ts";
export { makeDirectories } from "./directory.ts";
export { dtypeBytes, type StoredDtype, type TensorSpec } from "./dtype.ts";
export { CheckpointError, shown } from "./errors.ts";
export { fileVersion } from "./file-access.ts";
export { quantizedCheckpointEntries, quantizedTensorEntries } from "./gptq-layout.ts";
export { findInHubCache, type ModelId, parseModelId } from "./hub-cache.ts";
export { type Inspection, inspectCheckpoint } from "./inspection.ts";
export { type JsonObject, readJsonFile } from "./json.ts";
export {
  checkLoaders,
  type Finding,
  type LoaderCheck,
  type LoaderLimit,
  loaderNames,
  plannedLimits,
  plannedTensorParallelSizes,
  type RuleKind,
  type TensorParallelSize,
  type Verdict,
} from "./loader-rules/index.ts";
export { isSafePattern } from "./module-patterns.ts";
export {
  type ModuleOverrides,
  type ModuleRule,
  ModuleRules,
  settingsFor,
} from "./module-rules.ts";
export { readTorchFile } from "./pickle/torch-file.ts";
export { type QuantizationConfig, readQuantizationConfig } from "./quantization-config.ts";
export {
  floatConfigJson,
  quantizationConfigJson,
  quantizedConfigJson,
  rewrittenConfigsJson,
} from "./quantized-config.ts";
export { type LinearShape, qwenBlockLinears, qwenTensorShapes } from "./qwen-tensors.ts";
export { encodeHeader, readSafetensorsHeader } from "./safetensors.ts";
export { planShards, type ShardPlan, totalTensorBytes } from "./shard-plan.ts";
export { type Checkpoint, openCheckpoint, requireTensor } from "./shards.ts";
export { readTensorBytes, type TensorEntry, type TensorFile } from "./tensor-file.ts";
export { writeTensorFile } from "./tensor-file-writer.ts";
export { type CheckpointWriter, createCheckpointWriter } from "./writer.ts";
