export { createDetokenizer, type Detokenizer } from "./detokenizer.ts";
export { cacheTokensWithin } from "./engine/cache-room.ts";
export { Delivery } from "./engine/delivery.ts";
export {
  type Completion,
  Engine,
  type EngineOptions,
  type EngineStats,
} from "./engine/engine.ts";
export { largest, type TokenLogprobs } from "./engine/logprobs.ts";
export type { CompletionDelta, EngineRequest, TokenConstraint } from "./engine/request.ts";
export { GenerationError, type GenerationErrorCode } from "./errors.ts";
export { type GenerateRequest, generate } from "./generate.ts";
export {
  type FinishReason,
  generateText,
  type TextDelta,
  type TextRequest,
} from "./generate-text.ts";
export { type GenerationConfig, readGenerationConfig } from "./generation-config.ts";
export { type NextTokenRequest, nextLogProbabilities } from "./next-token.ts";
export { PrefixCache } from "./prefix-cache.ts";
export { defaultLookupLength, PromptLookup } from "./prompt-lookup.ts";
export { createRandom } from "./random.ts";
export {
  createSampler,
  defaultSampling,
  parseSamplingOptions,
  type Sampler,
  type SamplingOptions,
} from "./sampler.ts";
export {
  createStopMatcher,
  type StopMatcher,
  type StopOptions,
  type StopReason,
  type StopStep,
} from "./stop.ts";
