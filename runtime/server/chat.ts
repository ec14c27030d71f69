// POST /v1/chat/completions
import { randomUUID } from "node:crypto";

import type { Completion } from "../generation/index.ts";
import { chatPrompt } from "../tokenizer/index.ts";
import { type AnswerContext, respond } from "./answer.ts";
import { ChatFormat } from "./chat-format.ts";
import { ApiError } from "./errors.ts";
import type { Lifetime } from "./lifetime.ts";
import { readMessages } from "./messages.ts";
import { maxNewTokensOf, samplingOf, stopStringsOf } from "./parameters.ts";
import { observationStop } from "./react.ts";
import type { ChatBody, Message } from "./schemas.ts";
import { requireChat, requireModel, type Service, submitChoices } from "./service.ts";
import { type ToolUse, toolUseOf } from "./tools.ts";

export async function completeChat(
  service: Service,
  body: ChatBody,
  context: Pick<AnswerContext, "started" | "onError"> & { readonly lifetime: Lifetime },
): Promise<Response> {
  requireModel(service, body.model);
  requireChat(service);
  const tools = toolUseOf(body);
  if (tools.isOffered && (body.response_format ?? { type: "text" }).type !== "text") {
    throw new ApiError(400, "response_format: not together with tools", {
      ...{ param: "response_format", code: "unsupported" },
    });
  }
  const prompt = encodeMessages(service, body.messages, tools);
  const { logprobs } = body;
  const { endOfText, imStart, imEnd } = service.tokenizer.specials;
  const strings = [...stopStringsOf(body), ...(tools.isOffered ? [observationStop] : [])];
  const count = body.n ?? 1;
  const maxNewTokens = maxNewTokensOf(
    body.max_completion_tokens ?? body.max_tokens,
    prompt.length,
    service,
  );
  const constraints = await Promise.all(
    Array.from({ length: count }, () => service.grammars.constraint(body.response_format)),
  );
  const request = (index: number) => ({
    ...{ prompt, maxNewTokens, constraint: constraints[index] },
    sampling: samplingOf(body, service, index),
    stop: { ids: [[endOfText], [imStart], [imEnd]], strings },
    logprobs: logprobs === true ? (body.top_logprobs ?? 0) : undefined,
    signal: context.lifetime.signal,
  });
  let completions: readonly Completion[];
  try {
    completions = submitChoices(service, count, request);
  } catch (error) {
    for (const constraint of constraints) constraint?.[Symbol.dispose]();
    throw error;
  }
  const format = new ChatFormat(`chatcmpl-${randomUUID()}`, {
    ...{ model: body.model, tools, count, tokenizer: service.tokenizer },
    includesUsage: body.stream_options?.include_usage === true,
  });
  return respond(format, { ...context, service, body, completions });
}

/** [tokens]; control tokens in messages are plain text. Nothing is left out of a long conversation: it is refused. */
export function encodeMessages(
  service: Service,
  messages: readonly Message[],
  tools: ToolUse,
): Int32Array {
  const { forced, offered } = tools;
  const conversation = readMessages(messages, offered);
  const opening = conversation.opening + (forced?.after(conversation.opening) ?? "");
  return chatPrompt(service.tokenizer, {
    ...{ ...conversation, opening },
    maxWindow: Number.POSITIVE_INFINITY,
  });
}
