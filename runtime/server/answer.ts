// What chat and text completions have in common: from submitted requests to one response or a stream of events.
import type { Completion, CompletionDelta } from "../generation/index.ts";
import type { Lifetime } from "./lifetime.ts";
import type { SamplingBody } from "./schemas.ts";
import type { Service } from "./service.ts";
import { type ChoiceDelta, eventStream, mergeChoices } from "./streams.ts";

/** Builds an endpoint's objects from the deltas of its choices. */
export interface AnswerFormat {
  /** Chunks before the first delta. */
  begin(): Iterable<object>;
  /** Chunks of a delta; none where nothing can be shown yet. */
  chunks(choice: ChoiceDelta): Iterable<object>;
  /** The last chunk, where usage is wanted. */
  usageChunk(usage: Usage): object;
  /** The whole answer, of all deltas by choice. */
  whole(choices: readonly (readonly CompletionDelta[])[], usage: Usage): object;
}

export type Usage = {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
};

export type AnswerContext = {
  readonly service: Service;
  readonly body: SamplingBody;
  readonly completions: readonly Completion[];
  /** Ends with the answer. */
  readonly lifetime: Lifetime;
  readonly started: number;
  readonly onError: (error: unknown) => void;
};

export async function respond(format: AnswerFormat, context: AnswerContext): Promise<Response> {
  const { body, completions, lifetime, onError } = context;
  const watched = watch(mergeChoices(completions), context);
  if (body.stream === true) {
    const onEnd = () => lifetime[Symbol.dispose]();
    return eventStream(events(format, watched, context), { onEnd, onError });
  }
  using _ = lifetime;
  const choices: CompletionDelta[][] = completions.map(() => []);
  for await (const { index, delta } of watched) choices[index]?.push(delta);
  return Response.json(format.whole(choices, usageOf(completions, choices)));
}

async function* events(
  format: AnswerFormat,
  deltas: AsyncIterable<ChoiceDelta>,
  { body, completions }: AnswerContext,
): AsyncGenerator<object, void> {
  yield* format.begin();
  const last: CompletionDelta[][] = completions.map(() => []);
  for await (const choice of deltas) {
    last[choice.index] = [choice.delta];
    yield* format.chunks(choice);
  }
  if (body.stream_options?.include_usage === true) {
    yield format.usageChunk(usageOf(completions, last));
  }
}

/** Takes the times of the answers that pass. */
async function* watch(
  deltas: AsyncIterable<ChoiceDelta>,
  { service, started, completions }: AnswerContext,
): AsyncGenerator<ChoiceDelta, void> {
  const first = new Array<number | undefined>(completions.length);
  for await (const choice of deltas) {
    const { index, delta } = choice;
    first[index] ??= performance.now();
    yield choice;
    if (delta.finish === undefined) continue;
    const toFirst = (first[index] - started) / 1000;
    service.metrics.countAnswer(toFirst, (performance.now() - started) / 1000, delta.tokens);
  }
}

function usageOf(
  completions: readonly Completion[],
  choices: readonly (readonly CompletionDelta[])[],
): Usage {
  const prompt = completions[0]?.promptTokens ?? 0;
  const generated = choices.reduce((sum, deltas) => sum + (deltas.at(-1)?.tokens ?? 0), 0);
  return {
    prompt_tokens: prompt,
    completion_tokens: generated,
    total_tokens: prompt + generated,
    prompt_tokens_details: { cached_tokens: completions[0]?.reusedTokens ?? 0 },
  };
}
