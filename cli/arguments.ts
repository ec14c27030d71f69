// Values and spellings of flags.

import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError, type Option } from "commander";
import { deviceNames } from "./compute-device.ts";
import { parseBytes } from "./terminal/format.ts";

/** A parser of integers in a range, for commander. */
export function integer(
  lowest: number,
  highest: number = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[+-]?\d+$/.test(text.trim()) && value >= lowest && value <= highest) return value;
    const isUnbounded = highest === Number.MAX_SAFE_INTEGER && !(value > highest);
    const range = isUnbounded ? `from ${lowest}` : `from ${lowest} to ${highest}`;
    throw new InvalidArgumentError(`Expected an integer ${range}.`);
  };
}

type Range = { readonly expected: string; readonly accepts: (value: number) => boolean };

type RangeName = "any" | "fromZero" | "aboveZero" | "share" | "damping";

export const ranges: Readonly<Record<RangeName, Range>> = {
  any: { expected: "a number", accepts: () => true },
  fromZero: { expected: "a number from 0", accepts: (value) => value >= 0 },
  aboveZero: { expected: "a number above 0", accepts: (value) => value > 0 },
  share: { expected: "a number from 0 to 1", accepts: (value) => value >= 0 && value <= 1 },
  damping: {
    expected: "a number above 0, at most 1",
    accepts: (value) => value > 0 && value <= 1,
  },
};

/** A parser of decimal numbers in a range, for commander. */
export function decimal({ expected, accepts }: Range): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isFinite(value) && accepts(value)) return value;
    throw new InvalidArgumentError(`Expected ${expected}.`);
  };
}

export function bytes(text: string): number {
  const value = parseBytes(text);
  if (value !== undefined) return value;
  throw new InvalidArgumentError("Expected a size such as 2GB or 500MB.");
}

/** A path: an empty one, as of an unset variable in a shell, would mean the current directory. */
export function path(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("Expected a path.");
}

/** A text that may be given several times. */
export function repeated(text: string, earlier: readonly string[] | undefined): readonly string[] {
  if (text === "") throw new InvalidArgumentError("Expected a text that is not empty.");
  return [...(earlier ?? []), text];
}

export type AllowedSpecial = "all" | "none" | ReadonlySet<string>;

/** Which control tokens a text may hold: "all", "none", or forms such as <|im_start|> with commas between. */
export function allowedSpecial(text: string): AllowedSpecial {
  if (text === "all" || text === "none") return text;
  const forms = text.split(",").map((form) => form.trim());
  if (forms.every((form) => /^<\|\w+\|>$/.test(form))) return new Set(forms);
  throw new InvalidArgumentError(
    'Expected "all", "none" or a list such as "<|im_start|>,<|im_end|>".',
  );
}

function deviceName(text: string): string {
  if (deviceNames.test(text)) return text;
  throw new InvalidArgumentError('Expected "cpu", "cuda", or "cuda:1" for the second GPU.');
}

export type CommonFlags = {
  readonly threads?: number;
  readonly device?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly color?: boolean;
  readonly debug?: boolean;
};

export function addCommonFlags(command: Command): void {
  command
    .option(
      "--threads <n>",
      `cores to compute with, changes no result (default: all, ${availableParallelism()} here)`,
      integer(1, 1024),
    )
    .option("--device <name>", "cpu, cuda, or cuda:1 for the second GPU (default: cpu)", deviceName)
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
