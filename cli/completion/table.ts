// What can be typed after `nibble`, from commander's own tables.

import type { Command, Option } from "commander";
import { repeated } from "../arguments.ts";

/** What may follow: one of some words, a file or directory, or something that cannot be guessed. */
export type Value = readonly string[] | "file" | "free";

export type Flag = {
  /** `-o`, `--output`: the short one first, if there is one. */
  readonly names: readonly string[];
  readonly about: string;
  /** Undefined for a switch. */
  readonly value: Value | undefined;
  readonly isRepeatable: boolean;
};

export type Completion = {
  readonly name: string;
  readonly about: string;
  readonly flags: readonly Flag[];
  /** Of the command's arguments; undefined if it takes none. */
  readonly argument: Value | undefined;
};

/** Value names of flags that stand for something in the file system. */
const fileNames: ReadonlySet<string> = new Set(["file", "dir"]);

/** Every command of the program, `help` included; what is hidden is left out. */
export function completionsOf(program: Command): readonly Completion[] {
  const help = program.createHelp();
  const commands = help.visibleCommands(program);
  return commands.map((command) => {
    const isHelp = command.name() === "help";
    const argument = command.registeredArguments[0];
    return {
      name: command.name(),
      about: brief(command.description()),
      flags: help.visibleOptions(command).map(flagOf),
      argument: isHelp
        ? commands.map((one) => one.name())
        : argument && (argument.argChoices ?? "file"),
    };
  });
}

function flagOf(option: Option): Flag {
  const { short, long, argChoices } = option;
  const valueName = /[<[]([\w-]+)[\]>]/.exec(option.flags)?.[1] ?? "";
  const value = argChoices ?? (fileNames.has(valueName) ? "file" : "free");
  return {
    names: [short, long].filter((name) => name !== undefined),
    about: brief(option.description),
    value: option.required ? value : undefined,
    isRepeatable: option.parseArg === repeated,
  };
}

/** A menu has one line for each: the first clause. */
function brief(description: string): string {
  return description.split(/[;:(,]|\.(?:\s|$)/, 1)[0]?.trim() ?? "";
}
