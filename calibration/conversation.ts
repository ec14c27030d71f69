import {
  type ChatMessage,
  defaultSystem,
  type EncodeOptions,
  type Tokenizer,
  type TrainingConversation,
  trainingConversation,
} from "../runtime/index.ts";
import { CalibrationError } from "./errors.ts";

export type CalibrationConversation = {
  readonly kind: "conversation";
  readonly system: string;
  /** Begins with the user's message, as Qwen's scripts have it; never empty. */
  readonly turns: readonly ChatMessage[];
};

/** Names of the two fields of a message in each layout. */
const messageFields = {
  conversations: { role: "from", content: "value" },
  messages: { role: "role", content: "content" },
} as const;

export type ConversationLayout = keyof typeof messageFields;

/**
 * Checks the messages of one row. A first message of role "system" becomes the system text in the
 * `messages` layout; the `conversations` layout has no such role. Then a first message that is not the
 * user's is dropped (one only), as `run_gptq.py` does.
 *
 * @param where  file and row, for messages
 * @throws CalibrationError CALIBRATION_ROW on a wrong type, CALIBRATION_ROLE on an unknown role,
 *   CALIBRATION_EMPTY if no message is left
 */
export function parseConversation(
  value: unknown,
  layout: ConversationLayout,
  where: string,
): CalibrationConversation {
  if (!Array.isArray(value)) {
    throw new CalibrationError("CALIBRATION_ROW", `${where}: ${layout} must be an array`);
  }
  const messages = value.map((message: unknown, index) =>
    parseMessage(message, layout, `${where}: ${layout}[${index}]`),
  );
  const [first] = messages;
  const system = first?.role === "system" ? first.content : defaultSystem;
  const rest = first?.role === "system" ? messages.slice(1) : messages;
  const turns = (rest[0]?.role === "user" ? rest : rest.slice(1)).map(
    ({ role, content }, index): ChatMessage => {
      if (role === "system") {
        throw roleError(`${where}: ${layout}: message ${index} after the first`, role, layout);
      }
      return { role, content };
    },
  );
  if (turns.length === 0) {
    throw new CalibrationError(
      "CALIBRATION_EMPTY",
      `${where}: ${layout} has no message left to use; expected one from "user" first`,
    );
  }
  return { kind: "conversation", system, turns };
}

/** The conversation as ChatML ids with the training loss mask. */
export function conversationIds(
  tokenizer: Tokenizer,
  { turns, system }: CalibrationConversation,
  allowedSpecial: NonNullable<EncodeOptions["allowedSpecial"]> = "all",
): TrainingConversation {
  return trainingConversation(tokenizer, turns, { system, allowedSpecial });
}

type Message = { readonly role: "system" | "user" | "assistant"; readonly content: string };

function parseMessage(message: unknown, layout: ConversationLayout, where: string): Message {
  if (typeof message !== "object" || message === null) {
    throw new CalibrationError("CALIBRATION_ROW", `${where} must be an object`);
  }
  const fields: Readonly<Record<string, unknown>> = { ...message };
  const names = messageFields[layout];
  const role = fields[names.role];
  const content = fields[names.content];
  for (const [name, value] of [
    [names.role, role],
    [names.content, content],
  ] as const) {
    if (typeof value !== "string") {
      throw new CalibrationError(
        "CALIBRATION_ROW",
        `${where}.${name} must be a string, got ${value === null ? "null" : typeof value}`,
      );
    }
  }
  const isKnown = role === "user" || role === "assistant";
  if (isKnown || (role === "system" && layout === "messages")) {
    return { role, content: String(content) };
  }
  throw roleError(`${where}.${names.role}`, String(role), layout);
}

function roleError(where: string, role: string, layout: ConversationLayout): CalibrationError {
  const expected =
    layout === "messages" ? '"user", "assistant" (or "system" first)' : '"user" or "assistant"';
  return new CalibrationError(
    "CALIBRATION_ROLE",
    `${where}: unknown role ${JSON.stringify(role)}; expected ${expected}`,
  );
}
