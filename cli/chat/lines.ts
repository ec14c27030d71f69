// Messages as a person or a pipe gives them.
import { createInterface } from "node:readline";

/** What came instead of a line. */
export type LineEvent =
  | { readonly kind: "line"; readonly text: string }
  /** Ctrl-D, or the end of a pipe. */
  | { readonly kind: "end" }
  /** Ctrl-C; `typed` is what stood on the line. */
  | { readonly kind: "interrupt"; readonly typed: string };

export interface LineSource extends Disposable {
  /** Whether a person types; lines of a pipe are taken as they are. */
  readonly isTyped: boolean;
  /** Waits for a line; a prompt is shown on a terminal only. */
  next(prompt: string): Promise<LineEvent>;
}

const historySize = 500;

/**
 * Lines typed at a terminal. Between two lines the terminal is an ordinary one, so that Ctrl-C reaches the program while it
 * answers and what is typed meanwhile waits for the next line.
 */
export function terminalLines(): LineSource {
  let history: string[] = [];
  return {
    isTyped: true,
    next: (prompt) =>
      new Promise((resolve) => {
        const editor = createInterface({
          ...{ input: process.stdin, output: process.stdout, terminal: true },
          ...{ history: [...history], historySize, removeHistoryDuplicates: true },
        });
        let isSettled = false;
        const settle = (event: LineEvent) => {
          isSettled = true;
          editor.close();
          resolve(event);
        };
        editor.on("history", (lines) => {
          history = lines;
        });
        editor.on("line", (text) => settle({ kind: "line", text }));
        editor.on("SIGINT", () => {
          const typed = editor.line;
          process.stdout.write("^C\n");
          settle({ kind: "interrupt", typed });
        });
        editor.on("close", () => {
          if (isSettled) return;
          process.stdout.write("\n");
          resolve({ kind: "end" });
        });
        editor.setPrompt(prompt);
        editor.prompt();
      }),
    [Symbol.dispose]() {
      process.stdin.pause();
    },
  };
}

/** Lines of a pipe or file, each a message. */
export function pipedLines(input: NodeJS.ReadableStream = process.stdin): LineSource {
  const editor = createInterface({ input, terminal: false, crlfDelay: Number.POSITIVE_INFINITY });
  const lines = editor[Symbol.asyncIterator]();
  return {
    isTyped: false,
    next: async () => {
      const { done, value } = await lines.next();
      return done === true ? { kind: "end" } : { kind: "line", text: value };
    },
    [Symbol.dispose]() {
      editor.close();
    },
  };
}

const fence = '"""';

/** What a line ends with that the next one belongs to; two of them are one that is meant. */
const goesOn = /(?<!\\)\\$/;

/**
 * Reads one message: a line, lines that end with a backslash and the next one, or the lines between two `"""`.
 *
 * @returns "end" at the end of input, also in the middle of a message
 */
export async function readMessage(
  source: LineSource,
  { prompt, continuation }: { readonly prompt: string; readonly continuation: string },
): Promise<LineEvent> {
  const first = await source.next(prompt);
  if (first.kind !== "line") return first;
  if (!first.text.trimStart().startsWith(fence))
    return readContinued(first.text, source, continuation);
  const opened = first.text.trimStart().slice(fence.length);
  const lines: string[] = [];
  for (let text = opened; ; ) {
    if (text.trimEnd().endsWith(fence)) {
      lines.push(text.trimEnd().slice(0, -fence.length));
      return { kind: "line", text: lines.join("\n") };
    }
    lines.push(text);
    const next = await source.next(continuation);
    if (next.kind !== "line") return next.kind === "end" ? next : { kind: "interrupt", typed: "…" };
    text = next.text;
  }
}

async function readContinued(
  first: string,
  source: LineSource,
  continuation: string,
): Promise<LineEvent> {
  const lines: string[] = [];
  for (let text = first; ; ) {
    if (!source.isTyped || !goesOn.test(text)) {
      return { kind: "line", text: [...lines, text].join("\n") };
    }
    lines.push(text.slice(0, -1));
    const next = await source.next(continuation);
    if (next.kind !== "line") return next.kind === "end" ? next : { kind: "interrupt", typed: "…" };
    text = next.text;
  }
}
