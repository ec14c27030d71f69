import { join } from "node:path";
import {
  type GenerationConfig,
  type Model,
  openQwenTokenizer,
  type Tokenizer,
  unusedTensors,
} from "../runtime/index.ts";
import { InputError, UsageError } from "./errors.ts";

/** What to tell a user about tensors that a model leaves aside; undefined if there are none. */
export function describeUnused(model: Model): string | undefined {
  const [first, ...others] = unusedTensors(model);
  if (first === undefined) return undefined;
  const rest = others.length === 0 ? "" : ` and ${others.length} more`;
  return (
    `note: ${model.checkpoint.dir}: the model makes no use of tensor ${first}${rest}; ` +
    "does config.json belong to these weights?"
  );
}

/**
 * The tokenizer in a model's directory.
 *
 * @throws InputError if it has tokens that the model has no row for; TokenizerError
 */
export function openTokenizer(model: Model): Tokenizer {
  const { dir } = model.checkpoint;
  const tokenizer = openQwenTokenizer(dir);
  const { vocabularySize } = tokenizer;
  if (vocabularySize <= model.shape.vocabulary) return tokenizer;
  tokenizer[Symbol.dispose]();
  throw new InputError(
    `${join(dir, "qwen.tiktoken")}: ${vocabularySize} tokens with the control tokens, but the model has rows for ` +
      `${model.shape.vocabulary}; it is the tokenizer of another model`,
  );
}

/**
 * @param advice  what to do with a model that is none
 * @throws UsageError for a model that was not trained on chats
 */
export function requireChatModel(dir: string, config: GenerationConfig, advice: string): void {
  if (config.chatFormat === "chatml") return;
  throw new UsageError(
    `${dir}/generation_config.json has chat_format ${JSON.stringify(config.chatFormat ?? null)}, not "chatml"; ` +
      `this is probably a base model, whose prompts are continued (${advice})`,
  );
}
