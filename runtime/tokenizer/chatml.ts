// ChatML as token ids. Built block by block, never by encoding the whole text: a content that begins with
// newlines must not merge with the newline before it.

import type { EncodeOptions, Tokenizer } from "./tokenizer.ts";

export type ChatTurn = { readonly query: string; readonly response: string };

export type ChatPrompt = {
  readonly system: string;
  /** Finished turns, oldest first. */
  readonly history: readonly ChatTurn[];
  readonly query: string;
  /** What the assistant's answer begins with already; nothing by default. */
  readonly opening?: string;
  /** Limit in tokens for system block and history (`max_window_size`); the query does not count. */
  readonly maxWindow: number;
  /** Surface forms that are control tokens in contents. Default: none, as in the original. */
  readonly allowedSpecial?: EncodeOptions["allowedSpecial"];
};

export type LaidOutChat = {
  /** [tokens] i32 */
  readonly ids: Int32Array;
  /** How many of the newest turns are part of it. */
  readonly turns: number;
};

export type ChatMessage = { readonly role: "user" | "assistant"; readonly content: string };

export type TrainingConversation = {
  /** [tokens] i32 */
  readonly ids: Int32Array;
  /** [tokens] u8, 1 where the token counts in the training loss */
  readonly lossMask: Uint8Array;
};

export const defaultSystem = "You are a helpful assistant.";

/**
 * The prompt of a chat, ready for the assistant's first token. Control tokens in any content are plain
 * text. History is dropped from its oldest end: walking back from the newest turn, a turn is kept while
 * system block + kept turns + this turn < maxWindow tokens; the first that is not ends the walk.
 *
 * @returns ids [tokens] i32
 * @see QwenLM/Qwen `make_context` with chat_format "chatml"
 */
export function chatPrompt(tokenizer: Tokenizer, prompt: ChatPrompt): Int32Array {
  return layOutChat(tokenizer, prompt).ids;
}

/** `chatPrompt`, and how much of the history it holds. */
export function layOutChat(tokenizer: Tokenizer, prompt: ChatPrompt): LaidOutChat {
  const { allowedSpecial = "none" } = prompt;
  const block = (role: string, content: string) =>
    chatBlock(tokenizer, role, tokenizer.encode(content, { allowedSpecial }));
  const newline = encodeText(tokenizer, "\n");
  const system = block("system", prompt.system);
  const kept: number[][] = [];
  let size = system.length;
  for (const { query, response } of prompt.history.toReversed()) {
    const turn = [...newline, ...block("user", query), ...newline, ...block("assistant", response)];
    if (size + turn.length >= prompt.maxWindow) {
      break;
    }
    size += turn.length;
    kept.unshift(turn);
  }
  const ids = Int32Array.from([
    ...system,
    ...kept.flat(),
    ...newline,
    ...block("user", prompt.query),
    ...newline,
    tokenizer.specials.imStart,
    ...encodeText(tokenizer, "assistant"),
    ...newline,
    ...tokenizer.encode(prompt.opening ?? "", { allowedSpecial }),
  ]);
  return { ids, turns: kept.length };
}

/**
 * A conversation as Qwen's fine-tuning and quantization scripts lay it out: a system block, then one block
 * per message; every block ends with `<|im_end|>` and a newline, the last included. Unlike in a chat
 * prompt, control tokens spelled in a message are by default read as control tokens.
 *
 * The loss counts an assistant's content, and `<|im_start|>`, `<|im_end|>` and the final newline of every
 * block; role names, the newline after them, and system and user content do not count.
 *
 * @see QwenLM/Qwen `finetune.py`, `run_gptq.py` (`preprocess`)
 */
export function trainingConversation(
  tokenizer: Tokenizer,
  turns: readonly ChatMessage[],
  options: {
    readonly system?: string;
    /** Surface forms that are control tokens in contents. Default: all, as in the original. */
    readonly allowedSpecial?: EncodeOptions["allowedSpecial"];
  } = {},
): TrainingConversation {
  const { allowedSpecial = "all" } = options;
  const newline = tokenizer.encode("\n");
  const ids: number[] = [];
  const lossMask: number[] = [];
  const append = (tokens: Iterable<number>, counts: boolean): void => {
    for (const id of tokens) {
      ids.push(id);
      lossMask.push(counts ? 1 : 0);
    }
  };
  const { imStart, imEnd } = tokenizer.specials;
  const messages = [{ role: "system", content: options.system ?? defaultSystem }, ...turns];
  for (const { role, content } of messages) {
    append([imStart], true);
    append(tokenizer.encode(role), false);
    append(newline, false);
    append(tokenizer.encode(content, { allowedSpecial }), role === "assistant");
    append([imEnd], true);
    append(newline, true);
  }
  return { ids: Int32Array.from(ids), lossMask: Uint8Array.from(lossMask) };
}

function chatBlock(tokenizer: Tokenizer, role: string, content: Int32Array): number[] {
  const { imStart, imEnd } = tokenizer.specials;
  return [
    imStart,
    ...encodeText(tokenizer, role),
    ...encodeText(tokenizer, "\n"),
    ...content,
    imEnd,
  ];
}

function encodeText(tokenizer: Tokenizer, text: string): Int32Array {
  return tokenizer.encode(text, { allowedSpecial: "none" });
}
