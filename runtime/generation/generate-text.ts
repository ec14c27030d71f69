import type { Model } from "../model/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { createDetokenizer } from "./detokenizer.ts";
import { type GenerateRequest, generate } from "./generate.ts";
import { createStopMatcher, type StopOptions } from "./stop.ts";

export type TextRequest = Omit<GenerateRequest, "allowed" | "stopIds"> & {
  /** Where to end; the stop itself is not part of the text. */
  readonly stop?: StopOptions;
};

/** "stop": a stop sequence or string came; "length": maxNewTokens were generated. */
export type FinishReason = "stop" | "length";

export type TextDelta = {
  /** May be "" while a character or a possible stop is incomplete. */
  readonly text: string;
  /** Tokens generated so far, those of a stop included. */
  readonly tokens: number;
  /** Set on the last delta, which always comes. */
  readonly finish: FinishReason | undefined;
};

/**
 * Generates text after a prompt, a delta per token. Control tokens have no text.
 *
 * @throws everything `generate` throws
 */
export async function* generateText(
  model: Model,
  tokenizer: Tokenizer,
  request: TextRequest,
): AsyncGenerator<TextDelta, void> {
  const { stop = {}, ...rest } = request;
  const detokenizer = createDetokenizer(tokenizer);
  const matcher = createStopMatcher(stop);
  const allowed = Math.min(tokenizer.vocabularySize, model.shape.vocabulary);
  let tokens = 0;
  for await (const id of generate(model, { ...rest, allowed })) {
    tokens += 1;
    const step = matcher.push(id, detokenizer.push(id));
    if (step.stop !== null) {
      yield { text: step.text, tokens, finish: "stop" };
      return;
    }
    yield { text: step.text, tokens, finish: undefined };
  }
  const last = matcher.finish(detokenizer.flush());
  yield { text: last.text, tokens, finish: last.stop === null ? "length" : "stop" };
}
