// Messages of a request as the turns that Qwen's format knows: a system text, finished turns, and what to answer.
import type { ChatTurn } from "../tokenizer/index.ts";
import { defaultSystem } from "../tokenizer/index.ts";
import { ApiError } from "./errors.ts";
import {
  type FunctionTool,
  nextThought,
  renderAnswer,
  renderCall,
  renderObservation,
  toolInstruction,
} from "./react.ts";
import type { Message } from "./schemas.ts";

export type Conversation = {
  readonly system: string;
  readonly history: readonly ChatTurn[];
  readonly query: string;
  /** What the answer begins with, where the last message is not a user's. */
  readonly opening: string;
};

type Assistant = Extract<Message, { role: "assistant" }>;
type Turn = { query: string; response: string | undefined };

/**
 * @param tools  described in the last finished turn's question, or in the query where there is none, as in training
 * @throws ApiError 400 where messages do not alternate as the format wants
 * @see QwenLM/Qwen `openai_api.py` `parse_messages`
 */
export function readMessages(
  messages: readonly Message[],
  tools: readonly FunctionTool[],
): Conversation {
  const [first] = messages;
  const hasSystem = first?.role === "system" || first?.role === "developer";
  const system = hasSystem ? strip(textOf(first.content)) : defaultSystem;
  const turns: Turn[] = [];
  const results = new ToolResults();
  for (let at = hasSystem ? 1 : 0; at < messages.length; at++) {
    const message = messages[at] as Message;
    addMessage(turns, message, { at, results, hasTools: tools.length > 0 });
  }
  const last = turns.at(-1);
  if (last === undefined) throw invalid("expected at least one user message", "messages");
  results.requireAll();
  const isResult = messages.at(-1)?.role === "tool" || messages.at(-1)?.role === "function";
  const opening = last.response === undefined ? "" : last.response + (isResult ? nextThought : "");
  const history = turns.slice(0, -1).map(({ query, response = "" }) => ({ query, response }));
  return describeTools({ system, history, query: last.query, opening }, tools);
}

/** The place of the instruction is that of the training data: the turn before the last, so that what comes now is a plain question. */
function describeTools(conversation: Conversation, tools: readonly FunctionTool[]): Conversation {
  if (tools.length === 0) return conversation;
  const asked = (query: string) => `${toolInstruction(tools)}\n\nQuestion: ${query}`;
  const last = conversation.history.at(-1);
  if (last === undefined) return { ...conversation, query: asked(conversation.query) };
  const history = [...conversation.history.slice(0, -1), { ...last, query: asked(last.query) }];
  return { ...conversation, history };
}

type MessageContext = {
  readonly at: number;
  readonly results: ToolResults;
  readonly hasTools: boolean;
};

function addMessage(turns: Turn[], message: Message, context: MessageContext): void {
  const { at, results } = context;
  const last = turns.at(-1);
  switch (message.role) {
    case "user":
      if (last !== undefined && last.response === undefined) {
        throw invalid("expected an assistant message between two user messages", `messages.${at}`);
      }
      results.requireAll();
      turns.push({ query: strip(textOf(message.content)), response: undefined });
      return;
    case "assistant":
      if (last === undefined) {
        throw invalid("expected a user message before an assistant's", `messages.${at}`);
      }
      results.requireAll();
      last.response = joined(last.response, assistantText(message, context), hasCalls(message));
      return;
    case "tool":
    case "function":
      addResult(last, message, context);
      return;
    default:
      throw invalid(`a ${message.role} message can only be the first`, `messages.${at}`);
  }
}

type Result = Extract<Message, { role: "tool" | "function" }>;

function addResult(last: Turn | undefined, message: Result, { at, results }: MessageContext): void {
  const id = message.role === "tool" ? message.tool_call_id : undefined;
  if (last?.response === undefined || !results.take(id)) {
    throw invalid(
      `expected an assistant message that calls ${id === undefined ? "a function" : `with id "${id}"`} ` +
        `before a ${message.role} message`,
      `messages.${at}`,
    );
  }
  last.response += renderObservation(strip(textOf(message.content)));
  const next = results.next();
  if (next !== undefined) last.response += `\n${next}`;
}

const hasCalls = ({ tool_calls, function_call }: Assistant): boolean =>
  (tool_calls?.length ?? 0) > 0 || Boolean(function_call);

function joined(before: string | undefined, text: string, isCall: boolean): string {
  if (before === undefined) return text;
  // An answer after a result, or two messages of the assistant in a row.
  return isCall || before !== "" ? `${before}\n${text}` : text;
}

function assistantText(message: Assistant, { results, hasTools }: MessageContext): string {
  const text = strip(textOf(message.content ?? ""));
  const { tool_calls, function_call } = message;
  if (tool_calls !== null && tool_calls !== undefined && tool_calls.length > 0) {
    // Qwen calls one function at a time: several are told as if their results had come between.
    const rendered = tool_calls.map((call, i) => ({
      id: call.id,
      text: renderCall(i === 0 ? text : "", call.function),
    }));
    results.expect(rendered);
    return rendered[0]?.text ?? "";
  }
  if (function_call !== null && function_call !== undefined) {
    results.expect([{ id: undefined, text: "" }]);
    return renderCall(text, function_call);
  }
  return hasTools ? renderAnswer(text) : text;
}

type ExpectedResult = { readonly id: string | undefined; readonly text: string };

/** Calls whose results must come, in their order. */
class ToolResults {
  #expected: readonly ExpectedResult[] = [];

  expect(results: readonly ExpectedResult[]): void {
    this.#expected = results;
  }

  /** @returns whether this result is the one that has to come now */
  take(id: string | undefined): boolean {
    const [first, ...rest] = this.#expected;
    if (first === undefined || (id !== undefined && first.id !== undefined && first.id !== id)) {
      return false;
    }
    this.#expected = rest;
    return true;
  }

  /** The call that follows the result just taken. */
  next(): string | undefined {
    return this.#expected[0]?.text;
  }

  requireAll(): void {
    const [missing] = this.#expected;
    if (missing === undefined) return;
    const which = missing.id === undefined ? "the function call" : `tool call "${missing.id}"`;
    throw invalid(
      `the result of ${which} is missing, or not in the order of the calls`,
      "messages",
    );
  }
}

function textOf(content: string | readonly { readonly text: string }[]): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join("\n");
}

/** As the original does, so that prompts look like the training data. */
function strip(text: string): string {
  return text.replace(/^\n+/, "").trimEnd();
}

function invalid(message: string, param: string): ApiError {
  return new ApiError(400, `${param}: ${message}`, { param, code: "invalid_messages" });
}
