// What a line that begins with a colon does. Names are those of Qwen's own cli_demo.py.
import {
  GenerationError,
  parseSamplingOptions,
  type SamplingOptions,
} from "../../runtime/index.ts";
import { formatCount, plural } from "../terminal/format.ts";
import type { ChatSession, ChatSettings } from "./session.ts";

export type CommandOutcome =
  | { readonly kind: "print"; readonly text: string }
  | { readonly kind: "clear" }
  | { readonly kind: "leave" };

type ChatCommand = {
  readonly names: readonly string[];
  readonly usage: string;
  readonly help: string;
  run(session: ChatSession, argument: string): CommandOutcome;
};

const commands: readonly ChatCommand[] = [
  {
    ...{ names: ["help", "h"], usage: ":help", help: "this list" },
    run: () => print(help()),
  },
  {
    ...{ names: ["exit", "quit", "q"], usage: ":exit", help: "leave, as Ctrl-D does" },
    run: () => ({ kind: "leave" }),
  },
  {
    ...{ names: ["clear", "cl"], usage: ":clear", help: "clear the screen" },
    run: () => ({ kind: "clear" }),
  },
  {
    ...{ names: ["clear-his", "clh"], usage: ":clear-his", help: "forget what was said" },
    run: (session) => print(`${plural(session.clearHistory(), "turn")} forgotten`),
  },
  {
    ...{ names: ["history", "his"], usage: ":history", help: "what was said" },
    run: (session) => print(history(session)),
  },
  {
    ...{ names: ["system"], usage: ":system [TEXT]", help: "show or change the system text" },
    run: (session, text) => {
      if (text !== "") session.system = text;
      return print(`system: ${session.system}`);
    },
  },
  {
    ...{ names: ["seed"], usage: ":seed [N]", help: "show or change the seed of the draws" },
    run: (session, text) =>
      print(text === "" ? show(session, ["seed"]) : change(session, [`seed=${text}`])),
  },
  {
    ...{
      names: ["conf"],
      usage: ":conf [KEY=VALUE …]",
      help: "show or change how answers are drawn",
    },
    run: (session, text) =>
      print(text === "" ? show(session, settingNames) : change(session, text.split(/\s+/))),
  },
  {
    ...{ names: ["reset-conf"], usage: ":reset-conf", help: "back to the settings of the start" },
    run: (session) => {
      session.resetSettings();
      return print(show(session, settingNames));
    },
  },
];

/** By the names of generation_config.json. */
const settings = {
  temperature: "temperature",
  top_p: "topP",
  top_k: "topK",
  repetition_penalty: "repetitionPenalty",
  seed: "seed",
  max_new_tokens: "maxNewTokens",
  max_window_size: "maxWindow",
} as const satisfies Readonly<Record<string, keyof ChatSettings>>;
type SettingName = keyof typeof settings;
const settingNames = Object.keys(settings) as readonly SettingName[];

/** @returns undefined for what is no command: it is for the model, colon included */
export function runChatCommand(session: ChatSession, line: string): CommandOutcome | undefined {
  const [, name = "", argument = ""] = /^:([a-z-]+)(?:\s+(.*))?$/s.exec(line) ?? [];
  const command = commands.find(({ names }) => names.includes(name));
  return command?.run(session, argument.trim());
}

function print(text: string): CommandOutcome {
  return { kind: "print", text };
}

function help(): string {
  const width = Math.max(...commands.map(({ usage }) => usage.length));
  const lines = commands.map((command) => {
    const short = command.names.slice(1).map((name) => `:${name}`);
    const also = short.length === 0 ? "" : ` (${short.join(", ")})`;
    return `  ${command.usage.padEnd(width)}  ${command.help}${also}`;
  });
  return [
    ...lines,
    `  ${'"""'.padEnd(width)}  begins and ends a message of several lines`,
    `  ${"Ctrl-C".padEnd(width)}  stops an answer; the turn is then forgotten`,
  ].join("\n");
}

function history({ history: turns }: ChatSession): string {
  if (turns.length === 0) return "nothing was said yet";
  return turns
    .map(({ query, response }, i) => `User[${i}]: ${query}\nModel[${i}]: ${response}`)
    .join("\n");
}

function show(session: ChatSession, names: readonly SettingName[]): string {
  return names.map((name) => `${name} = ${session.settings[settings[name]]}`).join("\n");
}

/** All pairs or none. */
function change(session: ChatSession, pairs: readonly string[]): string {
  const changes: Partial<Record<keyof ChatSettings, number>> = {};
  const names: SettingName[] = [];
  for (const pair of pairs) {
    const [key = "", text = ""] = pair.split(/=(.*)/s);
    const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replaceAll("-", "_");
    if (!isSettingName(name)) return `no setting ${key}; there are ${settingNames.join(", ")}`;
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!Number.isFinite(value))
      return `${key}: expected ${key}=NUMBER, got ${JSON.stringify(pair)}`;
    changes[settings[name]] = value;
    names.push(name);
  }
  const problem = apply(session, changes);
  return problem ?? show(session, names);
}

/** @returns what is wrong with a value; nothing is then changed */
function apply(
  session: ChatSession,
  changes: Partial<Record<keyof ChatSettings, number>>,
): string | undefined {
  const next = { ...session.settings, ...changes };
  const { maxNewTokens, maxWindow, ...sampling } = next;
  for (const [name, count] of Object.entries({ maxNewTokens, maxWindow })) {
    if (!Number.isSafeInteger(count) || count < 1) {
      return `${name} must be an integer from 1, got ${formatCount(count)}`;
    }
  }
  try {
    const checked: SamplingOptions = parseSamplingOptions(sampling);
    session.settings = { ...checked, maxNewTokens, maxWindow };
    return undefined;
  } catch (error) {
    if (error instanceof GenerationError) return error.message;
    throw error;
  }
}

function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(settings, name);
}
