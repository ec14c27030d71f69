// Probabilities of tokens in the two forms of OpenAI's API.
import type { CompletionDelta } from "../generation/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

type ChatToken = {
  readonly token: string;
  readonly logprob: number;
  /** UTF-8; a token may hold part of a character. */
  readonly bytes: readonly number[];
};

export type ChatLogprobs = {
  readonly content: readonly (ChatToken & { readonly top_logprobs: readonly ChatToken[] })[];
  readonly refusal: null;
};

/** JSON has no infinity; OpenAI's own stand-in for a probability of zero. */
const lowest = -9999;

export function chatLogprobs(
  deltas: readonly CompletionDelta[],
  tokenizer: Tokenizer,
): ChatLogprobs | null {
  const content = deltas.flatMap(({ id, logprobs }) => {
    if (id === undefined || logprobs === undefined) return [];
    const describe = (token: number, logprob: number): ChatToken => ({
      token: tokenizer.decode([token]),
      logprob: Math.max(lowest, logprob),
      bytes: [...tokenizer.bytesOf(token)],
    });
    const top = logprobs.top.map((other) => describe(other.id, other.logprob));
    return [{ ...describe(id, logprobs.logprob), top_logprobs: top }];
  });
  return content.length === 0 ? null : { content, refusal: null };
}

export type TextLogprobs = {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly number[];
  readonly top_logprobs: readonly Readonly<Record<string, number>>[];
  /** Where each token begins in the text. */
  readonly text_offset: readonly number[];
};

/** @param offset  characters before the first of them */
export function textLogprobs(
  deltas: readonly CompletionDelta[],
  tokenizer: Tokenizer,
  offset: number,
): TextLogprobs | null {
  const told = chatLogprobs(deltas, tokenizer)?.content;
  if (told === undefined) return null;
  let at = offset;
  const offsets = told.map(({ token }) => {
    const start = at;
    at += token.length;
    return start;
  });
  return {
    tokens: told.map(({ token }) => token),
    token_logprobs: told.map(({ logprob }) => logprob),
    top_logprobs: told.map(({ top_logprobs }) =>
      Object.fromEntries(top_logprobs.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: offsets,
  };
}
