export {
  type ChatMessage,
  type ChatPrompt,
  type ChatTurn,
  chatPrompt,
  defaultSystem,
  type LaidOutChat,
  layOutChat,
  type TrainingConversation,
  trainingConversation,
} from "./chatml.ts";
export { TokenizerError, type TokenizerErrorCode } from "./errors.ts";
export { openQwenTokenizer } from "./qwen.ts";
export type { DecodeOptions, EncodeOptions, SpecialIds, Tokenizer } from "./tokenizer.ts";
