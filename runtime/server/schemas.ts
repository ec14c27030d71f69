import { z } from "zod";

// What requests may hold, as types and as schemas that check them.

type Maybe<T> = T | null | undefined;

/** Fields that every request for text may have. */
export type SamplingBody = {
  model: string;
  temperature?: Maybe<number>;
  top_p?: Maybe<number>;
  /** Not OpenAI's, like the next two. */
  top_k?: Maybe<number>;
  min_p?: Maybe<number>;
  repetition_penalty?: Maybe<number>;
  presence_penalty?: Maybe<number>;
  frequency_penalty?: Maybe<number>;
  seed?: Maybe<number>;
  max_tokens?: Maybe<number>;
  stop?: Maybe<string | string[]>;
  n?: Maybe<number>;
  stream?: Maybe<boolean>;
  stream_options?: Maybe<{ include_usage?: Maybe<boolean> }>;
  user?: Maybe<string>;
};

export type Content = string | { type: "text"; text: string }[];
type FunctionCallBody = { name: string; arguments: string };

export type Message =
  | { role: "system" | "developer"; content: Content }
  | { role: "user"; content: Content }
  | {
      role: "assistant";
      content?: Maybe<Content>;
      tool_calls?: Maybe<{ id: string; type?: Maybe<"function">; function: FunctionCallBody }[]>;
      function_call?: Maybe<FunctionCallBody>;
    }
  | { role: "tool"; tool_call_id: string; content: Content }
  | { role: "function"; name?: Maybe<string>; content: Content };

type FunctionBody = {
  name: string;
  description?: string | undefined;
  parameters?: unknown;
  name_for_human?: string | undefined;
  name_for_model?: string | undefined;
  description_for_model?: string | undefined;
};

export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | {
      type: "json_schema";
      json_schema: {
        name?: string | undefined;
        strict?: Maybe<boolean>;
        schema: Record<string, unknown>;
      };
    };

export type ChatBody = SamplingBody & {
  messages: Message[];
  max_completion_tokens?: Maybe<number>;
  logprobs?: Maybe<boolean>;
  top_logprobs?: Maybe<number>;
  tools?: Maybe<{ type: "function"; function: FunctionBody }[]>;
  tool_choice?: Maybe<
    "none" | "auto" | "required" | { type: "function"; function: { name: string } }
  >;
  functions?: Maybe<FunctionBody[]>;
  function_call?: Maybe<"none" | "auto" | { name: string }>;
  response_format?: Maybe<ResponseFormat>;
};

export type CompletionBody = SamplingBody & {
  prompt: string | number[] | string[] | number[][];
  logprobs?: Maybe<number>;
  echo?: Maybe<boolean>;
  best_of?: Maybe<number>;
  suffix?: Maybe<string>;
};

export type TokenizeBody =
  | { model?: Maybe<string>; prompt: string }
  | { model?: Maybe<string>; messages: Message[] };

export type DetokenizeBody = { model?: Maybe<string>; tokens: number[] };

const number = (low: number, high: number) => z.number().min(low).max(high);
const count = (low: number, high: number = Number.MAX_SAFE_INTEGER) => z.int().min(low).max(high);

/** Beyond these, a request would be a denial of service rather than a question. */
const maxChoices = 16;
const maxStops = 16;
const maxStopLength = 1024;
const maxTopLogprobs = 20;

const stop = z.string().min(1).max(maxStopLength);

const samplingFields = {
  model: z.string(),
  temperature: number(0, 100).nullish(),
  top_p: number(0, 1).nullish(),
  top_k: z.int().min(-1).nullish(),
  min_p: number(0, 1).nullish(),
  repetition_penalty: z.number().gt(0).max(100).nullish(),
  presence_penalty: number(-2, 2).nullish(),
  frequency_penalty: number(-2, 2).nullish(),
  seed: z.int().nullish(),
  max_tokens: count(1).nullish(),
  stop: z.union([stop, z.array(stop).max(maxStops)]).nullish(),
  n: count(1, maxChoices).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  user: z.string().nullish(),
};

const textPart = z.object({ type: z.literal("text"), text: z.string() });
const content = z.union([z.string(), z.array(textPart)]);

const functionCall = z.object({ name: z.string().min(1), arguments: z.string() });
const toolCall = z.object({
  id: z.string(),
  type: z.literal("function").nullish(),
  function: functionCall,
});

const messageSchema: z.ZodType<Message> = z.discriminatedUnion("role", [
  z.object({ role: z.enum(["system", "developer"]), content }),
  z.object({ role: z.literal("user"), content }),
  z.object({
    role: z.literal("assistant"),
    content: content.nullish(),
    tool_calls: z.array(toolCall).nullish(),
    function_call: functionCall.nullish(),
  }),
  z.object({ role: z.literal("tool"), tool_call_id: z.string(), content }),
  z.object({ role: z.literal("function"), name: z.string().nullish(), content }),
]);

const functionTool = z.object({
  name: z.string().min(1),
  description: z.string().optional(),
  parameters: z.unknown().optional(),
  name_for_human: z.string().optional(),
  name_for_model: z.string().optional(),
  description_for_model: z.string().optional(),
});

const named = z.object({ name: z.string() });

const responseFormat = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text") }),
  z.object({ type: z.literal("json_object") }),
  z.object({
    type: z.literal("json_schema"),
    json_schema: z.object({
      name: z.string().optional(),
      strict: z.boolean().nullish(),
      schema: z.record(z.string(), z.unknown()),
    }),
  }),
]);

export const chatSchema: z.ZodType<ChatBody> = z.object({
  ...samplingFields,
  messages: z.array(messageSchema).min(1),
  max_completion_tokens: count(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: count(0, maxTopLogprobs).nullish(),
  tools: z.array(z.object({ type: z.literal("function"), function: functionTool })).nullish(),
  tool_choice: z
    .union([
      z.enum(["none", "auto", "required"]),
      z.object({ type: z.literal("function"), function: named }),
    ])
    .nullish(),
  functions: z.array(functionTool).nullish(),
  function_call: z.union([z.enum(["none", "auto"]), named]).nullish(),
  response_format: responseFormat.nullish(),
});

const ids = z.array(z.int().min(0)).min(1);

export const completionSchema: z.ZodType<CompletionBody> = z.object({
  ...samplingFields,
  prompt: z.union([z.string(), ids, z.array(z.string()).min(1), z.array(ids).min(1)]),
  logprobs: count(0, maxTopLogprobs).nullish(),
  echo: z.boolean().nullish(),
  best_of: count(1, maxChoices).nullish(),
  suffix: z.string().nullish(),
});

export const tokenizeSchema: z.ZodType<TokenizeBody> = z.union([
  z.object({ model: z.string().nullish(), prompt: z.string() }),
  z.object({ model: z.string().nullish(), messages: z.array(messageSchema).min(1) }),
]);

export const detokenizeSchema: z.ZodType<DetokenizeBody> = z.object({
  model: z.string().nullish(),
  tokens: z.array(z.int().min(0)),
});
