export { type ActivationOptions, ActivationStore } from "./activations.ts";
export {
  type CalibrationConversation,
  conversationIds,
} from "./conversation.ts";
export {
  type CalibrationDocument,
  type CalibrationText,
  type CalibrationTokens,
  type Documents,
  readDocuments,
} from "./dataset.ts";
export { CalibrationError, type CalibrationErrorCode } from "./errors.ts";
export {
  type CalibrationSource,
  type SegmentOptions,
  type Segments,
  type SourceUse,
  sampleSegments,
  sampleSources,
} from "./segments.ts";
export { readSegmentsFile, writeSegmentsFile } from "./segments-file.ts";
export { type TokenScope, tokenScopes } from "./tokenize.ts";
