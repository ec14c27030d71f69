// A chat without a model: a token is a character, and an answer is what a test says.
import type { ChatEngine, ChatSettings } from "../../../cli/chat/session.ts";
import { defaultSampling, type TextDelta } from "../../../runtime/index.ts";

export const settings: ChatSettings = { ...defaultSampling, maxNewTokens: 16, maxWindow: 6144 };

export type FakeEngine = ChatEngine & {
  /** Prompts in the order they came. */
  readonly prompts: string[];
  readonly used: ChatSettings[];
};

/**
 * @param answer   the answer's pieces
 * @param onPiece  called before each piece
 */
export function fakeEngine(
  answer: (query: string) => readonly string[],
  { maxLength = 1000, onPiece = () => {} }: { maxLength?: number; onPiece?: () => void } = {},
): FakeEngine {
  const prompts: string[] = [];
  const used: ChatSettings[] = [];
  let last = "";
  return {
    maxLength,
    reused: 0,
    prompts,
    used,
    layOut: ({ system, history, query, maxWindow }) => {
      const kept: string[] = [];
      let size = system.length;
      for (const turn of history.toReversed()) {
        const text = `|${turn.query}|${turn.response}`;
        if (size + text.length >= maxWindow) break;
        size += text.length;
        kept.unshift(text);
      }
      const text = `${system}${kept.join("")}|${query}|`;
      last = text;
      return { ids: Int32Array.from(text, (c) => c.charCodeAt(0)), turns: kept.length };
    },
    generate: async function* (_ids, { settings: own, maxNewTokens, signal }) {
      prompts.push(last);
      used.push(own);
      const [, query = ""] = /\|([^|]*)\|$/.exec(last) ?? [];
      let tokens = 0;
      for (const text of answer(query)) {
        onPiece();
        signal.throwIfAborted();
        tokens += 1;
        yield { text, tokens, finish: undefined } satisfies TextDelta;
        if (tokens === maxNewTokens) {
          yield { text: "", tokens, finish: "length" };
          return;
        }
      }
      yield { text: "", tokens, finish: "stop" };
    },
  };
}
