import { join } from "node:path";
import { type Model, openQwenTokenizer, type Tokenizer } from "../runtime/index.ts";
import { InputError } from "./errors.ts";

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
