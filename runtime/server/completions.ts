// POST /v1/completions
import { randomUUID } from "node:crypto";
import type { Completion, CompletionDelta } from "../generation/index.ts";
import { type AnswerContext, type AnswerFormat, respond, type Usage } from "./answer.ts";
import { ApiError } from "./errors.ts";
import type { Lifetime } from "./lifetime.ts";
import { textLogprobs } from "./logprobs.ts";
import { maxNewTokensOf, samplingOf, stopStringsOf } from "./parameters.ts";
import type { CompletionBody } from "./schemas.ts";
import { requireModel, type Service, submitChoices } from "./service.ts";
import type { ChoiceDelta } from "./streams.ts";

/** Prompts of one request times answers to each. */
const maxChoices = 64;

export async function completeText(
  service: Service,
  body: CompletionBody,
  context: Pick<AnswerContext, "started" | "onError"> & { readonly lifetime: Lifetime },
): Promise<Response> {
  requireModel(service, body.model);
  const count = body.n ?? 1;
  requireSupported(body, count);
  const prompts = encodePrompts(service, body);
  if (prompts.length * count > maxChoices) {
    throw new ApiError(
      400,
      `n: ${prompts.length} prompts with ${count} answers each are more than ${maxChoices} answers`,
      { param: "n", code: "invalid_value" },
    );
  }
  const { endOfText } = service.tokenizer.specials;
  const completions: readonly Completion[] = submitChoices(
    service,
    prompts.length * count,
    (index) => {
      const prompt = prompts[Math.floor(index / count)] ?? new Int32Array();
      return {
        prompt,
        maxNewTokens: maxNewTokensOf(body.max_tokens, prompt.length, service),
        sampling: samplingOf(body, service, index % count),
        stop: { ids: [[endOfText]], strings: stopStringsOf(body) },
        logprobs: body.logprobs ?? undefined,
        signal: context.lifetime.signal,
      };
    },
  );
  const echoes = prompts.map((prompt) =>
    body.echo === true ? service.tokenizer.decode(prompt) : "",
  );
  const format = new TextFormat(`cmpl-${randomUUID()}`, {
    ...{ service, model: body.model },
    echoes: completions.map((_, index) => echoes[Math.floor(index / count)] ?? ""),
  });
  return respond(format, { ...context, service, body, completions });
}

function requireSupported(body: CompletionBody, count: number): void {
  const refuse = (param: string, reason: string) => {
    throw new ApiError(400, `${param}: ${reason}`, { param, code: "unsupported" });
  };
  if (body.best_of !== undefined && body.best_of !== null && body.best_of !== count) {
    refuse("best_of", "only the value of n is supported");
  }
  if ((body.suffix ?? "") !== "") refuse("suffix", "this model cannot fill in text");
  if (body.echo === true && body.logprobs !== undefined && body.logprobs !== null) {
    refuse("echo", "not together with logprobs");
  }
}

/** Control tokens written in a prompt are read as such: this endpoint's prompts come from programs. */
function encodePrompts(service: Service, { prompt }: CompletionBody): readonly Int32Array[] {
  if (typeof prompt === "string") return [service.tokenizer.encode(prompt)];
  const isOne = typeof prompt[0] === "number";
  const prompts = (isOne ? [prompt] : prompt) as readonly (string | readonly number[])[];
  return prompts.map((each) =>
    typeof each === "string" ? service.tokenizer.encode(each) : Int32Array.from(each),
  );
}

type TextFormatOptions = {
  readonly service: Service;
  readonly model: string;
  /** What comes before each choice's text. */
  readonly echoes: readonly string[];
};

/** The objects of /v1/completions. */
class TextFormat implements AnswerFormat {
  readonly #id: string;
  readonly #options: TextFormatOptions;
  readonly #created = Math.floor(Date.now() / 1000);
  readonly #offsets: number[];

  constructor(id: string, options: TextFormatOptions) {
    this.#id = id;
    this.#options = options;
    this.#offsets = options.echoes.map((echo) => echo.length);
  }

  *begin(): Iterable<object> {
    for (const [index, text] of this.#options.echoes.entries()) {
      if (text !== "") yield this.#object([{ index, text, logprobs: null, finish_reason: null }]);
    }
  }

  *chunks({ index, delta }: ChoiceDelta): Iterable<object> {
    const { text, finish } = delta;
    const offset = this.#offsets[index] ?? 0;
    const logprobs = textLogprobs([delta], this.#options.service.tokenizer, offset);
    this.#offsets[index] = offset + (logprobs?.tokens[0]?.length ?? 0);
    if (text === "" && logprobs === null && finish === undefined) return;
    yield this.#object([{ index, text, logprobs, finish_reason: finish ?? null }]);
  }

  usageChunk(usage: Usage): object {
    return { ...this.#object([]), usage };
  }

  whole(choices: readonly (readonly CompletionDelta[])[], usage: Usage): object {
    const { echoes, service } = this.#options;
    const told = choices.map((deltas, index) => ({
      index,
      text: (echoes[index] ?? "") + deltas.map(({ text }) => text).join(""),
      logprobs: textLogprobs(deltas, service.tokenizer, echoes[index]?.length ?? 0),
      finish_reason: deltas.at(-1)?.finish ?? "length",
    }));
    return { ...this.#object(told), usage };
  }

  #object(choices: readonly object[]): object {
    const { model } = this.#options;
    return { id: this.#id, object: "text_completion", created: this.#created, model, choices };
  }
}
