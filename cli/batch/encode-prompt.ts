import {
  chatPrompt,
  type GenerationConfig,
  readMessages,
  type Tokenizer,
} from "../../runtime/index.ts";
import { InputError } from "../errors.ts";
import type { BatchPrompt } from "./prompts-file.ts";

/**
 * The tokens of a prompt of a file.
 *
 * @param index  its place in the file, for messages
 * @throws InputError if it is a conversation and the model is not for those, or none that can be asked
 */
export function encodePrompt(
  prompt: BatchPrompt,
  index: number,
  { tokenizer, config }: { readonly tokenizer: Tokenizer; readonly config: GenerationConfig },
): Int32Array {
  if ("prompt" in prompt) return tokenizer.encode(prompt.prompt);
  if (config.chatFormat !== "chatml") {
    throw new InputError(
      `prompt ${index + 1} has messages, but this is a base model; give "prompt"`,
    );
  }
  try {
    const conversation = readMessages(prompt.messages, []);
    return chatPrompt(tokenizer, { ...conversation, maxWindow: Number.POSITIVE_INFINITY });
  } catch (error) {
    throw new InputError(`prompt ${index + 1}: ${error instanceof Error ? error.message : error}`);
  }
}
