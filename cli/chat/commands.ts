// What a line that begins with a slash does. Names with a colon are those of Qwen's own cli_demo.py; both marks work for all.
import { plural } from "../terminal/format.ts";
import { loadChat, saveChat } from "./saved-chat.ts";
import type { ChatSession } from "./session.ts";
import { changeSettings, showSettings } from "./settings.ts";

export type CommandOutcome =
  | { readonly kind: "print"; readonly text: string }
  | { readonly kind: "clear" }
  | { readonly kind: "leave" }
  /** A message to be answered. */
  | { readonly kind: "ask"; readonly message: string };

type ChatCommand = {
  readonly names: readonly string[];
  /** What follows the name. */
  readonly argument?: string;
  readonly help: string;
  run(session: ChatSession, argument: string): CommandOutcome;
};

const commands: readonly ChatCommand[] = [
  { ...{ names: ["help", "h"], help: "this list" }, run: () => print(help()) },
  {
    ...{ names: ["system"], argument: "[TEXT]", help: "show or change the system text" },
    run: (session, text) => {
      if (text !== "") session.system = text;
      return print(`system: ${session.system}`);
    },
  },
  {
    ...{ names: ["reset", "clear-his", "clh"], help: "forget what was said" },
    run: (session) => print(`${plural(session.clearHistory(), "turn")} forgotten`),
  },
  {
    ...{ names: ["retry"], help: "ask the last message again, with the next seed" },
    run: retry,
  },
  {
    ...{ names: ["history", "his"], help: "what was said" },
    run: (session) => print(history(session)),
  },
  {
    ...{ names: ["seed"], argument: "[N]", help: "show or change the seed of the draws" },
    run: (session, text) =>
      print(
        text === "" ? showSettings(session, ["seed"]) : changeSettings(session, [`seed=${text}`]),
      ),
  },
  {
    names: ["config", "conf"],
    ...{ argument: "[KEY=VALUE …]", help: "show or change how answers are drawn" },
    run: (session, text) =>
      print(text === "" ? showSettings(session) : changeSettings(session, text.split(/\s+/))),
  },
  {
    ...{ names: ["reset-config", "reset-conf"], help: "back to the settings of the start" },
    run: (session) => {
      session.resetSettings();
      return print(showSettings(session));
    },
  },
  {
    ...{ names: ["save"], argument: "FILE", help: "keep the conversation in a file" },
    run: (session, file) => print(file === "" ? "expected /save FILE" : saveChat(session, file)),
  },
  {
    ...{ names: ["load"], argument: "FILE", help: "go on with a conversation of a file" },
    run: (session, file) => print(file === "" ? "expected /load FILE" : loadChat(session, file)),
  },
  { ...{ names: ["clear", "cl"], help: "clear the screen" }, run: () => ({ kind: "clear" }) },
  {
    ...{ names: ["exit", "quit", "q"], help: "leave, as Ctrl-D does" },
    run: () => ({ kind: "leave" }),
  },
];

/** @returns undefined for what is no command: it is for the model */
export function runChatCommand(session: ChatSession, line: string): CommandOutcome | undefined {
  const [, mark = "", name = "", argument = ""] = /^([:/])([a-z-]+)(?:\s+(.*))?$/s.exec(line) ?? [];
  const command = commands.find(({ names }) => names.includes(name));
  if (command !== undefined) return command.run(session, argument.trim());
  return mark === "/" ? mistyped(name, argument) : undefined;
}

/** A word after a slash, alone or nearly a command, is hardly meant for the model. */
function mistyped(name: string, argument: string): CommandOutcome | undefined {
  const known = commands.flatMap(({ names }) => names);
  const nearest = known.toSorted((a, b) => distance(name, a) - distance(name, b))[0] ?? "";
  const isNear = distance(name, nearest) <= Math.min(2, Math.floor(name.length / 3));
  if (!isNear && argument !== "") return undefined;
  const hint = isNear ? `did you mean /${nearest}?` : "/help lists all.";
  return print(`no command /${name}; ${hint} A space before it sends it as a message`);
}

/** Letters to insert, remove or change (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const change = (row[j] ?? 0) + (letter === to[j] ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

function print(text: string): CommandOutcome {
  return { kind: "print", text };
}

function help(): string {
  const rows: (readonly [string, string])[] = commands.map(({ names, argument, help: text }) => {
    const [first, ...others] = names;
    const also = others.length === 0 ? "" : ` (${others.map((name) => `:${name}`).join(", ")})`;
    return [`/${first}${argument === undefined ? "" : ` ${argument}`}`, `${text}${also}`];
  });
  rows.push(
    ['"""', "begins and ends a message of several lines"],
    ["\\", "at the end of a line: the message goes on"],
    ["Ctrl-C", "stops an answer; the turn is then forgotten, /retry asks it again"],
  );
  const width = Math.max(...rows.map(([usage]) => usage.length));
  return rows.map(([usage, text]) => `  ${usage.padEnd(width)}  ${text}`).join("\n");
}

function history({ history: turns }: ChatSession): string {
  if (turns.length === 0) return "nothing was said yet";
  return turns
    .map(({ query, response }, i) => `User[${i}]: ${query}\nModel[${i}]: ${response}`)
    .join("\n");
}

function retry(session: ChatSession): CommandOutcome {
  const message = session.takeBack();
  if (message === undefined) return print("there is no message to ask again");
  const { seed } = session.settings;
  session.settings = { ...session.settings, seed: seed + 1 };
  return { kind: "ask", message };
}
