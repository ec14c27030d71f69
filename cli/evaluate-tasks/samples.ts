// How each model goes on from the same prompts.
import { z } from "zod";
import {
  chatPrompt,
  defaultSampling,
  defaultSystem,
  generateText,
  type Model,
  type TaskMode,
  type Tokenizer,
} from "../../runtime/index.ts";

export const sampleTokens = 64;

/** By token. */
export type Pieces = readonly string[];
export const pieces: z.ZodType<Pieces> = z.array(z.string());

/** The greedy continuation, or the answer of a chat model. */
export async function sample(
  model: Model,
  tokenizer: Tokenizer,
  request: { readonly prompt: string; readonly mode: TaskMode; readonly signal: AbortSignal },
): Promise<Pieces> {
  const { prompt: query, mode, signal } = request;
  const prompt =
    mode === "chat"
      ? chatPrompt(tokenizer, {
          ...{ system: defaultSystem, history: [], query },
          maxWindow: Number.POSITIVE_INFINITY,
        })
      : tokenizer.encode(query);
  const { endOfText, imStart, imEnd } = tokenizer.specials;
  const deltas = generateText(model, tokenizer, {
    ...{ prompt, signal, maxNewTokens: sampleTokens },
    sampling: { ...defaultSampling, temperature: 0 },
    stop: { ids: [[endOfText], [imStart], [imEnd]] },
  });
  const result: string[] = [];
  for await (const { text } of deltas) result.push(text);
  return result;
}
