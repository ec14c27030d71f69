// Values and spellings of flags.

import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import { parseBytes } from "./terminal/format.ts";

/** A parser of integers in a range, for commander. */
export function integer(lowest: number, highest: number = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = Number(text);
    if (/^[+-]?\d+$/.test(text.trim()) && value >= lowest && value <= highest) return value;
    const range =
      highest === Number.MAX_SAFE_INTEGER ? `from ${lowest}` : `from ${lowest} to ${highest}`;
    throw new InvalidArgumentError(`Expected an integer ${range}.`);
  };
}

/** A parser of decimal numbers, for commander; ranges are checked where the number is used. */
export function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("Expected a number.");
}

export function bytes(text: string): number {
  const value = parseBytes(text);
  if (value !== undefined) return value;
  throw new InvalidArgumentError("Expected a size such as 2GB or 500MB.");
}

/** A flag that may be repeated. */
export function repeated(text: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), text];
}

export type CommonFlags = {
  readonly threads?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly color?: boolean;
  readonly debug?: boolean;
};

export function addCommonFlags(command: Command): void {
  command
    .addOption(
      new Option("--threads <n>", "cores to compute with; changes no result")
        .argParser(integer(1, 1024))
        .default(undefined, `${availableParallelism()}, all of this machine`),
    )
    .option("--json", "print one JSON object instead of text")
    .option("-q, --quiet", "no progress and no notes")
    .option("--no-color", "no colour (also: NO_COLOR in the environment)")
    .option("--debug", "print the stack of an error");
}

/**
 * Spells snake_case flags as the program does: `--group_size 64` is what people know from the config files. Values of
 * flags are left alone.
 */
export function normalizeFlags(argv: readonly string[], program: Command): string[] {
  const command = program.commands.find((candidate) => argv.includes(candidate.name()));
  const options = [...program.options, ...(command?.options ?? [])];
  const normal: string[] = [];
  let isValue = false;
  let isOver = false;
  for (const argument of argv) {
    isOver ||= argument === "--" && !isValue;
    const spelled: string = isValue || isOver ? argument : kebab(argument, options);
    normal.push(spelled);
    const option: Option | undefined = options.find(
      ({ long, short }) => spelled === long || spelled === short,
    );
    isValue = !isValue && !isOver && (option?.required ?? false);
  }
  return normal;
}

function kebab(argument: string, options: readonly Option[]): string {
  const [flag = ""] = argument.split("=", 1);
  const spelled = flag.replaceAll("_", "-");
  const isKnown = flag.startsWith("--") && options.some(({ long }) => long === spelled);
  return isKnown ? `${spelled}${argument.slice(flag.length)}` : argument;
}
