export { KvCache } from "./cache/kv-cache.ts";
export {
  type Checkpoint,
  CheckpointError,
  type CheckpointWriter,
  copyCompanions,
  createCheckpointWriter,
  openCheckpoint,
  planShards,
  type QuantizationConfig,
  quantizationConfigJson,
  quantizedConfigJson,
  quantizedTensorEntries,
  readSafetensorsHeader,
  readTensorBytes,
  type TensorSpec,
  totalTensorBytes,
  writeFileAtomic,
} from "./checkpoint/index.ts";
export {
  cutWindows,
  EvaluationError,
  type Score,
  scoreModels,
} from "./evaluation/index.ts";
export { createRandom } from "./generation/random.ts";
export {
  type Block,
  encodeLinear,
  forward,
  gptqLinear,
  type Linear,
  type Model,
  openModel,
  type QuantizedWeight,
  Step,
  type StepPart,
} from "./model/index.ts";
export {
  type ChatMessage,
  DEFAULT_SYSTEM,
  openQwenTokenizer,
  type Tokenizer,
  TokenizerError,
  type TrainingConversation,
  trainingConversation,
} from "./tokenizer/index.ts";
