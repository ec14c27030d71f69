export { createRandom } from "./generation/random.ts";
export {
  type ChatMessage,
  DEFAULT_SYSTEM,
  openQwenTokenizer,
  type Tokenizer,
  TokenizerError,
  type TrainingConversation,
  trainingConversation,
} from "./tokenizer/index.ts";
