// The objects of /v1/chat/completions.
import { randomUUID } from "node:crypto";
import type { CompletionDelta } from "../generation/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { AnswerFormat, Usage } from "./answer.ts";
import { type ChatLogprobs, chatLogprobs } from "./logprobs.ts";
import { type FunctionCall, parseReact, type ReactDelta, ReactStream } from "./react.ts";
import type { ChoiceDelta } from "./streams.ts";
import type { ToolUse } from "./tools.ts";

export type ChatFormatOptions = {
  readonly model: string;
  readonly tools: ToolUse;
  /** Choices. */
  readonly count: number;
  readonly tokenizer: Tokenizer;
  readonly includesUsage: boolean;
};

export class ChatFormat implements AnswerFormat {
  readonly #id: string;
  readonly #options: ChatFormatOptions;
  readonly #created = Math.floor(Date.now() / 1000);
  readonly #choices: readonly StreamedChoice[];

  constructor(id: string, options: ChatFormatOptions) {
    this.#id = id;
    this.#options = options;
    this.#choices = Array.from({ length: options.count }, () => new StreamedChoice(options.tools));
  }

  *begin(): Iterable<object> {
    for (const index of this.#choices.keys()) {
      yield this.#chunk(index, { role: "assistant", content: "" });
    }
  }

  *chunks({ index, delta }: ChoiceDelta): Iterable<object> {
    const choice = this.#choices[index];
    if (choice === undefined) return;
    const logprobs = this.#logprobs([delta]);
    const parts = choice.push(delta);
    // Each token's probability is told once, with the first of what it brought.
    if (parts.length === 0 && logprobs !== null) parts.push({ content: "" });
    for (const [i, part] of parts.entries()) {
      yield this.#chunk(index, part, i === 0 ? logprobs : null);
    }
    if (delta.finish === undefined) return;
    yield this.#chunk(index, {}, null, choice.isCall ? this.#callFinish : delta.finish);
  }

  usageChunk(usage: Usage): object {
    return { ...this.#head("chat.completion.chunk"), choices: [], usage };
  }

  whole(choices: readonly (readonly CompletionDelta[])[], usage: Usage): object {
    return {
      ...this.#head("chat.completion"),
      choices: choices.map((deltas, index) => {
        const { message, isCall } = this.#message(deltas.map(({ text }) => text).join(""));
        const finish = deltas.at(-1)?.finish ?? "length";
        const finish_reason = isCall ? this.#callFinish : finish;
        return { index, message, logprobs: this.#logprobs(deltas), finish_reason };
      }),
      usage,
    };
  }

  #message(text: string): { message: object; isCall: boolean } {
    const { tools } = this.#options;
    const role = "assistant";
    if (!tools.isOffered) return { message: { role, content: text, refusal: null }, isCall: false };
    const { content, call } = parseReact((tools.forced?.text ?? "") + text);
    if (call === undefined) return { message: { role, content, refusal: null }, isCall: false };
    const calls =
      tools.form === "tools" ? { tool_calls: [toolCall(call)] } : { function_call: call };
    return { message: { role, content: content || null, refusal: null, ...calls }, isCall: true };
  }

  get #callFinish(): string {
    return this.#options.tools.form === "tools" ? "tool_calls" : "function_call";
  }

  #logprobs(deltas: readonly CompletionDelta[]): ChatLogprobs | null {
    return chatLogprobs(deltas, this.#options.tokenizer);
  }

  #chunk(
    index: number,
    delta: object,
    logprobs: ChatLogprobs | null = null,
    finish: string | null = null,
  ): object {
    return {
      ...this.#head("chat.completion.chunk"),
      choices: [{ index, delta, logprobs, finish_reason: finish }],
      ...(this.#options.includesUsage ? { usage: null } : {}),
    };
  }

  #head(object: string): object {
    return { id: this.#id, object, created: this.#created, model: this.#options.model };
  }
}

const toolCall = (call: FunctionCall) => ({
  id: `call_${randomUUID().replaceAll("-", "")}`,
  type: "function",
  function: call,
});

/** Turns one choice's text into the deltas that a client puts together. */
class StreamedChoice {
  readonly #form: ToolUse["form"];
  readonly #react: ReactStream | undefined;
  #forced: string;
  isCall = false;

  constructor(tools: ToolUse) {
    this.#form = tools.form;
    this.#react = tools.isOffered ? new ReactStream() : undefined;
    this.#forced = tools.forced?.text ?? "";
  }

  push({ text, finish }: CompletionDelta): object[] {
    if (this.#react === undefined) return text === "" ? [] : [{ content: text }];
    const parts = [...this.#react.push(this.#forced + text)];
    this.#forced = "";
    if (finish !== undefined) parts.push(...this.#react.finish());
    return parts.map((part) => this.#delta(part));
  }

  #delta(part: ReactDelta): object {
    if (part.kind === "content") return { content: part.text };
    if (part.kind === "arguments") return this.#call({ arguments: part.text });
    this.isCall = true;
    return this.#call({ name: part.name, arguments: "" });
  }

  #call(part: Partial<FunctionCall>): object {
    if (this.#form === "functions") return { function_call: part };
    const { id, type } = toolCall({ name: "", arguments: "" });
    const first = part.name === undefined ? {} : { id, type };
    return { tool_calls: [{ index: 0, ...first, function: part }] };
  }
}
