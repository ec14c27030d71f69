export { type ActivationOptions, ActivationStore } from "./activations.ts";
export {
  type CalibrationConversation,
  conversationIds,
} from "./conversation.ts";
export {
  type CalibrationDocument,
  type CalibrationText,
  readDocuments,
} from "./dataset.ts";
export { CalibrationError, type CalibrationErrorCode } from "./errors.ts";
export { type SegmentOptions, type Segments, sampleSegments } from "./segments.ts";
export { readSegmentsFile } from "./segments-file.ts";
