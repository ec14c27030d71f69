// One sequence from prompt to new tokens: the prompt in chunks, then one row at a time.

import type { Model } from "../model/index.ts";
import { GenerationError } from "./errors.ts";
import { PrefixCache, type Sequence } from "./prefix-cache.ts";
import type { PromptLookup } from "./prompt-lookup.ts";
import { createSampler, isPlainGreedy, type SamplingOptions } from "./sampler.ts";
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
    const choices = await chooser.advance(sequence, tokens, proposal.length + 1);
    let accepted = 0;
    for (;;) {
      const id = choices.choose(accepted, history);
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

/** The next ids after the last rows that were added. */
interface Choices {
  /**
   * @param row      0 for the first of the rows asked for; each once, in order
   * @param history  all ids before it
   */
  choose(row: number, history: ArrayLike<number>): number;
}

interface Chooser {
  /** Adds tokens to the sequence, to choose after each of the last `rows`. */
  advance(sequence: Sequence, tokens: readonly number[], rows: number): Promise<Choices>;
}

/** Greedy reads one number for each row instead of its logits. */
function createChooser({ sampling, allowed, prompt }: GenerateRequest): Chooser {
  if (isPlainGreedy(sampling)) return greedyChooser(allowed);
  const sampler = createSampler(sampling, prompt.length);
  return {
    async advance(sequence, tokens, rows) {
      using logits = sequence.advance(tokens, rows);
      const values = await logits.read();
      const width = logits.size(1);
      return {
        choose: (row, history) =>
          sampler.sample(values.subarray(row * width, (row + 1) * width), history, allowed),
      };
    },
  };
}

function greedyChooser(allowed: number): Chooser {
  return {
    async advance(sequence, tokens, rows) {
      using best = sequence.advanceGreedily(tokens, allowed, rows);
      const ids = await best.read();
      return {
        choose(row) {
          const id = ids[row] ?? -1;
          if (id >= 0) return id;
          throw new GenerationError(
            "GENERATION_NOT_FINITE",
            "cannot choose a token: a logit is NaN; the model's weights or its computation are broken",
          );
        },
      };
    },
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
