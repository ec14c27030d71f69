// The loop of a chat: a message, its answer, and what a person may do between.
import { GenerationError } from "../../runtime/index.ts";
import type { CommandContext } from "../command.ts";
import { plural } from "../terminal/format.ts";
import type { Output } from "../terminal/output.ts";
import { runChatCommand } from "./commands.ts";
import { type LineSource, readMessage } from "./lines.ts";
import type { ChatAnswer, ChatSession } from "./session.ts";

export type ConversationContext = CommandContext & {
  readonly isTerminal: boolean;
  readonly isVerbose: boolean;
};

const clearScreen = "\u001b[2J\u001b[3J\u001b[H";

/** Runs until the input ends, a command leaves, or the program is interrupted. */
export async function converse(
  session: ChatSession,
  source: LineSource,
  context: ConversationContext,
): Promise<void> {
  const { colors } = context.output;
  const prompts = { prompt: colors.bold("> "), continuation: colors.dim("… ") };
  let isWarned = false;
  for (;;) {
    const event = await readMessage(source, prompts);
    context.signal.throwIfAborted();
    if (event.kind === "end") return;
    if (event.kind === "interrupt") {
      isWarned = atPrompt(event.typed, isWarned, context);
      continue;
    }
    isWarned = false;
    if ((await handle(session, event.text, context)) === "leave") return;
  }
}

/**
 * Ctrl-C where a message is typed: it takes back what was typed; on an empty line it leaves, the second time, since the first may have
 * been meant for an answer that had just ended.
 *
 * @returns whether the next one leaves
 */
function atPrompt(typed: string, isWarned: boolean, context: ConversationContext): boolean {
  if (typed !== "") return false;
  if (isWarned) {
    context.interrupt();
    context.signal.throwIfAborted();
  }
  context.output.note("Ctrl-C again or Ctrl-D leaves");
  return true;
}

async function handle(
  session: ChatSession,
  typed: string,
  context: ConversationContext,
): Promise<"leave" | undefined> {
  const { output, isTerminal } = context;
  const message = typed.trim();
  if (message === "") {
    if (isTerminal) output.note("an empty message; /help lists commands");
    return undefined;
  }
  // A pipe holds messages only: text that begins with a colon must not change settings.
  const isMessage = !isTerminal || /^\s/.test(typed);
  const outcome = isMessage ? undefined : runChatCommand(session, message);
  if (outcome?.kind === "clear") output.control(clearScreen);
  else if (outcome?.kind === "print") output.stream(`${outcome.text}\n`);
  else if (outcome?.kind === "ask") await answer(session, outcome.message, context);
  else if (outcome === undefined) await answer(session, message, context);
  return outcome?.kind === "leave" ? "leave" : undefined;
}

async function answer(
  session: ChatSession,
  message: string,
  context: ConversationContext,
): Promise<void> {
  const { output, signal, isTerminal } = context;
  const stop = new AbortController();
  using _takeover = isTerminal ? context.onInterrupt(() => stop.abort()) : undefined;
  const anySignal = AbortSignal.any([signal, stop.signal]);
  const show = (text: string) => {
    if (!output.isJson) output.stream(text);
  };
  let result: ChatAnswer;
  try {
    result = await session.answer(message, anySignal, show);
  } catch (error) {
    const isTooLong = error instanceof GenerationError && error.code === "GENERATION_LENGTH";
    if (!isTooLong || !isTerminal) throw error;
    output.note(error.message);
    return;
  }
  if (output.isJson) output.line({ query: message, ...result });
  else output.stream("\n");
  signal.throwIfAborted();
  for (const note of notes(session, result, context)) output.note(note);
}

function notes(
  session: ChatSession,
  result: ChatAnswer,
  { isVerbose }: { readonly isVerbose: boolean; readonly output: Output },
): readonly string[] {
  const { finish, tokens, promptTokens, reusedTokens, droppedTurns, seconds } = result;
  return [
    ...(finish === "interrupted" ? ["interrupted; this turn is forgotten"] : []),
    ...(finish === "length" ? [`cut off after ${plural(tokens, "token")} (max_new_tokens)`] : []),
    ...(droppedTurns > 0
      ? [
          `the oldest ${plural(droppedTurns, "turn")} of ${session.history.length} no longer fit and were left out`,
        ]
      : []),
    ...(isVerbose
      ? [
          `${plural(tokens, "token")} in ${seconds.toFixed(1)} s, prompt of ${promptTokens}, ${reusedTokens} of them computed before`,
        ]
      : []),
  ];
}
