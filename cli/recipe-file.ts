// Flags from a file: `--recipe FILE`, JSON or YAML, under the flags' own names. What the command line says wins.
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { type Command, InvalidArgumentError, type Option } from "commander";
import type { Document } from "yaml";
import { InputError } from "./errors.ts";

const maxBytes = 1_000_000;

/** Loaded where there is a file: every other start of the program would wait for it. */
const require = createRequire(import.meta.url);

/** Of this one run, or of the terminal it is started from: not what a recipe is for. */
const excluded: ReadonlySet<string> = new Set([
  ...["recipe", "output", "overwrite", "restart", "dry-run", "verbose", "quiet", "json", "color"],
  ...["debug", "help"],
]);

/**
 * Gives every flag that a file names, and that the command line does not, the file's value, as if it had been typed.
 *
 * @throws InputError naming file and key for a file that cannot be read or parsed, an unknown key or a wrong value
 */
export function applyRecipeFile(command: Command, file: string): void {
  const known = recipeOptions(command);
  for (const [key, value] of Object.entries(readRecipe(file))) {
    const name = key.replaceAll("_", "-");
    const option = known.get(name);
    if (option === undefined) throw unknownKey(file, key, [...known.keys()]);
    if (command.getOptionValueSource(option.attributeName()) === "cli") continue;
    try {
      command.setOptionValueWithSource(option.attributeName(), asTyped(option, value), "config");
    } catch (cause) {
      if (!(cause instanceof InvalidArgumentError)) throw cause;
      const shown = JSON.stringify(value);
      throw new InputError(`${file}: ${key} is ${shown}: ${cause.message}`, { cause });
    }
  }
}

/** By the names that a file may use. */
function recipeOptions(command: Command): ReadonlyMap<string, Option> {
  const known = new Map<string, Option>();
  for (const option of command.options) {
    const name = option.long?.replace(/^--(?:no-)?/, "") ?? "";
    // --act-order and --no-act-order are one key.
    if (!excluded.has(name) && !(known.has(name) && option.negate)) known.set(name, option);
  }
  return known;
}

function readRecipe(file: string): Readonly<Record<string, unknown>> {
  const text = readText(file);
  const { parseDocument } = require("yaml") as typeof import("yaml");
  // Aliases and tags have no use here; the first can be made to fill the memory.
  const document = parseDocument(text, { prettyErrors: true, strict: true, customTags: [] });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) {
    const [line = ""] = problem.message.split("\n");
    throw new InputError(`${file}: not valid YAML or JSON: ${line.replace(/:$/, "")}`);
  }
  const value = toPlain(document, file);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new InputError(`${file}: expected flags with their values, such as "bits: 4"`);
}

function toPlain(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw new InputError(`${file}: aliases (*name) are not supported; write values out`, { cause });
  }
}

function readText(file: string): string {
  let text: string;
  try {
    const { size } = statSync(file);
    if (size > maxBytes) {
      throw new InputError(`${file}: ${size} bytes are too many for a recipe; is it another file?`);
    }
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file));
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new InputError(`--recipe ${file}: cannot be read: ${reason}`, { cause });
  }
  return text;
}

/** As commander would have parsed it. */
function asTyped(option: Option, value: unknown): unknown {
  if (typeof value === "boolean") return switched(option, value);
  if (!takesValue(option)) throw new InvalidArgumentError("Expected true or false.");
  if (!Array.isArray(value)) return parsed(option, value, undefined);
  // A flag that may be repeated builds a list out of its values.
  let list: unknown;
  for (const item of value) list = parsed(option, item, list);
  if (value.length === 0 || !Array.isArray(list)) {
    throw new InvalidArgumentError("Expected a single value.");
  }
  return list;
}

function switched(option: Option, isOn: boolean): boolean | string {
  if (option.required) throw new InvalidArgumentError("Expected a value, not true or false.");
  const preset = option.presetArg;
  return isOn && typeof preset === "string" ? preset : isOn;
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

function parsed(option: Option, value: unknown, earlier: unknown): unknown {
  if (typeof value !== "string" && typeof value !== "number") {
    throw new InvalidArgumentError("Expected a text or a number.");
  }
  const { parseArg } = option;
  return parseArg === undefined ? `${value}` : parseArg(`${value}`, earlier);
}

function unknownKey(file: string, key: string, known: readonly string[]): InputError {
  const name = key.replaceAll("_", "-");
  const [nearest] = [...known].sort((a, b) => distance(a, name) - distance(b, name));
  const isNear = nearest !== undefined && distance(nearest, name) <= 2;
  const advice = isNear ? `; did you mean ${nearest}?` : `; there are ${known.join(", ")}`;
  return new InputError(`${file}: unknown key ${JSON.stringify(key)}${advice}`);
}

/** Insertions, deletions and replacements between two words (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (letter === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
