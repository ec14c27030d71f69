// What the handlers serve: a model behind an engine, under a name.
import type { Completion, Engine, EngineRequest, GenerationConfig } from "../generation/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { ApiError } from "./errors.ts";
import type { GrammarSource } from "./grammar.ts";
import type { Metrics } from "./metrics.ts";

/** The part of an engine that handlers use. */
export type ServedEngine = Pick<Engine, "submit" | "stats" | "maxLength" | "failure">;

/** What a page or a person may like to know of a model. */
export type ModelDetails = {
  /** Such as "int4, groups of 128" or "bf16". */
  readonly quantization: string;
  readonly kvCache: string;
  readonly device: string;
};

export type ServedModel = {
  /** What requests call it. */
  readonly id: string;
  readonly engine: ServedEngine;
  readonly tokenizer: Tokenizer;
  readonly config: GenerationConfig;
  readonly details: ModelDetails;
};

export type Service = ServedModel & {
  readonly created: number;
  readonly grammars: GrammarSource;
  readonly metrics: Metrics;
  /** Longest time for a request, in milliseconds. */
  readonly timeLimit: number;
};

/** @throws ApiError 404 for the name of another model */
export function requireModel(service: Service, name: string | null | undefined): void {
  if (name === undefined || name === null || name === service.id) return;
  throw new ApiError(
    404,
    `model: there is no model "${name}" here; this server has "${service.id}"`,
    {
      param: "model",
      code: "model_not_found",
    },
  );
}

/** @throws ApiError 400 for a model that was not trained on chats */
export function requireChat(service: Service): void {
  if (service.config.chatFormat === "chatml") return;
  throw new ApiError(
    400,
    `"${service.id}" is a base model without a chat format; /v1/completions continues a prompt`,
    { param: "messages", code: "no_chat_format" },
  );
}

/** Several answers to one prompt, each with a seed of its own. */
export function submitChoices(
  service: Service,
  count: number,
  request: (index: number) => EngineRequest,
): readonly Completion[] {
  const completions: Completion[] = [];
  try {
    for (let i = 0; i < count; i++) completions.push(service.engine.submit(request(i)));
  } catch (error) {
    for (const completion of completions) completion.cancel();
    throw error;
  }
  return completions;
}
