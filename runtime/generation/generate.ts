// One sequence from prompt to new tokens: the prompt in chunks, then one row at a time.

import type { Model } from "../model/index.ts";
import { chosenId, Drawing } from "./drawing.ts";
import { GenerationError } from "./errors.ts";
import { PrefixCache, type Sequence } from "./prefix-cache.ts";
import type { PromptLookup } from "./prompt-lookup.ts";
import { isPlainGreedy, type SamplingOptions } from "./sampling-options.ts";
import { createStopMatcher } from "./stop.ts";

export type GenerateRequest = {
  /** Token ids; at least one. */
  readonly prompt: ArrayLike<number>;
  readonly maxNewTokens: number;
  readonly sampling: SamplingOptions;
  /** Ids from here on have no token (padding of the vocabulary) and are never chosen. */
  readonly allowed: number;
  /** Generation ends after any of these sequences; their ids are yielded like others. */
  readonly stopIds?: readonly (readonly number[])[];
  /** Keeps keys and values for the next request; this one computes only what it does not begin with. Changes no result. */
  readonly cache?: PrefixCache | undefined;
  /** Rows of the prompt computed together; bounds memory, changes no result. */
  readonly chunkRows?: number;
  /** Guesses tokens from the text so far, to compute several in a step; belongs to this request. Changes no result. */
  readonly lookup?: PromptLookup | undefined;
  readonly signal?: AbortSignal | undefined;
};

const defaultChunkRows = 512;

/**
 * Generates tokens after a prompt. The rotary base is that of the prompt's length and stays while the sequence
 * grows, as in the original.
 *
 * @throws GenerationError GENERATION_PROMPT, GENERATION_LENGTH or GENERATION_OPTION at the call,
 *   GENERATION_NOT_FINITE while running; KernelError; the signal's reason when aborted
 */
export function generate(model: Model, request: GenerateRequest): AsyncGenerator<number, void> {
  checkRequest(model, request);
  return run(model, request);
}

async function* run(model: Model, request: GenerateRequest): AsyncGenerator<number, void> {
  const { maxNewTokens, lookup, signal } = request;
  const history = Array.from(request.prompt);
  const stops = createStopMatcher({ ids: request.stopIds ?? [] });
  const chooser = createChooser(request);
  using own = new PrefixCache();
  const sequence = (request.cache ?? own).sequence(model, history, maxNewTokens);
  let tokens = await prefill(sequence, history, request);
  let proposal: readonly number[] = [];
  for (let made = 0; ; ) {
    const choose = await chooser(sequence, tokens, { history, proposal });
    let accepted = 0;
    for (;;) {
      const id = choose(accepted);
      yield id;
      made += 1;
      if (made === maxNewTokens || stops.push(id, "").stop !== null) return;
      history.push(id);
      if (id !== proposal[accepted]) break;
      accepted += 1;
    }
    sequence.retract(proposal.length - accepted);
    lookup?.settle(proposal.length, accepted);
    signal?.throwIfAborted();
    proposal = lookup?.propose(history, maxNewTokens - made - 1) ?? [];
    tokens = [...history.slice(-1), ...proposal];
  }
}

/** @returns the last tokens of the prompt, after which the first choice is */
async function prefill(
  sequence: Sequence,
  prompt: readonly number[],
  { chunkRows = defaultChunkRows, signal }: GenerateRequest,
): Promise<readonly number[]> {
  let start = sequence.length;
  for (; start + chunkRows < prompt.length; start += chunkRows) {
    signal?.throwIfAborted();
    sequence.append(prompt.slice(start, start + chunkRows));
    // Waiting costs little against a chunk, and lets an abort be seen between chunks.
    await sequence.device.sync();
  }
  signal?.throwIfAborted();
  return prompt.slice(start);
}

/**
 * Adds tokens to the sequence, to choose after the history, whose last they are, and after each id of the proposal, which
 * follow.
 *
 * @returns the id after a row, 0 for that after the history; to be called once for each row, in order, as far as wanted
 */
type Chooser = (
  sequence: Sequence,
  tokens: readonly number[],
  after: { readonly history: readonly number[]; readonly proposal: readonly number[] },
) => Promise<(row: number) => number>;

function createChooser({ sampling, allowed, prompt }: GenerateRequest): Chooser {
  if (isPlainGreedy(sampling)) {
    return async (sequence, tokens, { proposal }) => {
      using best = sequence.advanceGreedily(tokens, allowed, proposal.length + 1);
      const ids = await best.read();
      return (row) => chosenId(ids[row]);
    };
  }
  const drawing = new Drawing(sampling, prompt.length);
  return async (sequence, tokens, { history, proposal }) => {
    using drawn = sequence.advanceDrawing(tokens, allowed, drawing.rows(history, proposal));
    const ids = await drawn.read();
    return (row) => {
      drawing.takeUniform();
      return chosenId(ids[row]);
    };
  };
}

/** @throws GenerationError GENERATION_PROMPT, GENERATION_LENGTH or GENERATION_OPTION */
export function checkRequest(
  model: Model,
  request: Pick<GenerateRequest, "prompt" | "maxNewTokens" | "allowed" | "stopIds" | "chunkRows">,
): void {
  const { vocabulary, maxLength } = model.shape;
  const { prompt, maxNewTokens, allowed, chunkRows = defaultChunkRows } = request;
  checkCount("maxNewTokens", maxNewTokens, Number.MAX_SAFE_INTEGER);
  checkCount("chunkRows", chunkRows, Number.MAX_SAFE_INTEGER);
  checkCount("allowed", allowed, vocabulary);
  createStopMatcher({ ids: request.stopIds ?? [] }); // refuses malformed stop ids
  if (prompt.length === 0) {
    throw new GenerationError("GENERATION_PROMPT", "the prompt is empty; give at least one token");
  }
  for (let i = 0; i < prompt.length; i++) {
    const id = prompt[i];
    if (!Number.isInteger(id) || id === undefined || id < 0 || id >= vocabulary) {
      throw new GenerationError(
        "GENERATION_PROMPT",
        `prompt token ${i} is ${id}; expected an id from 0 to ${vocabulary - 1}`,
      );
    }
  }
  if (prompt.length + maxNewTokens > maxLength) {
    const room = maxLength - prompt.length;
    throw new GenerationError(
      "GENERATION_LENGTH",
      `a prompt of ${prompt.length} tokens and ${maxNewTokens} new ones are more than the ${maxLength} this model ` +
        `is meant for; ${room > 0 ? `ask for at most ${room} new tokens` : "shorten the prompt"}`,
    );
  }
}

function checkCount(name: string, value: number, limit: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= limit) return;
  const range = limit === Number.MAX_SAFE_INTEGER ? "from 1" : `from 1 to ${limit}`;
  throw new GenerationError(
    "GENERATION_OPTION",
    `${name} is ${value}; expected an integer ${range}`,
  );
}
