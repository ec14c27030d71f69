// Flags of `evaluate --tasks`.
import { type Command, InvalidArgumentError } from "commander";
import { tasks } from "../../runtime/index.ts";
import { integer, path, repeated } from "../arguments.ts";
import { UsageError } from "../errors.ts";

export type TaskFlags = {
  readonly tasks?: readonly string[];
  readonly dataDir?: string;
  readonly chat?: boolean;
  readonly base?: boolean;
  readonly limit?: number;
  readonly shots?: number;
  readonly fewShot?: boolean;
  readonly samples?: readonly string[];
  readonly speed?: boolean;
  readonly output?: string;
  readonly overwrite?: boolean;
  readonly runGeneratedCode?: boolean;
  readonly allowNetwork?: boolean;
};

/** Tasks that score texts (--data) and not questions. */
export const textTasks = ["ppl", "kl"] as const;

const names: readonly string[] = [...textTasks, ...tasks.map(({ name }) => name)];

/** What has no meaning without --tasks. */
const dependent = [
  ...["dataDir", "chat", "base", "limit", "shots", "fewShot", "samples", "speed", "output"],
  ...["overwrite", "runGeneratedCode", "allowNetwork"],
] as const;

export function addTaskFlags(command: Command): void {
  command
    .option("--tasks <list>", `what to measure, of ${names.join(",")}`, taskList)
    .option("--data-dir <dir>", "where the benchmarks' data is, see below", path)
    .option("--chat", "ask in ChatML (default: as generation_config.json says)")
    .option("--base", "ask by continuing text")
    .option("--limit <n>", "at most so many questions of a task, evenly by subject", integer(1))
    .option(
      "--shots <n>",
      "examples before a multiple-choice question, base models (default: 5)",
      integer(0, 5),
    )
    .option("--few-shot", "GSM8K's four examples for chat models, which otherwise get none")
    .option("--samples <prompt>", "also show how each model goes on; may be repeated", repeated)
    .option(
      "--speed",
      "also decode 128 tokens with each, in a process of its own: speed and memory",
    )
    .option("--output <dir>", "keep results, answers and tables, and go on where a run ended", path)
    .option("--overwrite", "begin the run in --output anew")
    .option("--run-generated-code", "run the programs that models write for humaneval")
    .option("--allow-network", "run them even where they cannot be kept from the network");
}

function taskList(text: string): readonly string[] {
  const wanted = new Set(text.split(",").map((name) => name.trim()));
  const unknown = [...wanted].find((name) => !names.includes(name));
  if (unknown === undefined) return names.filter((name) => wanted.has(name));
  throw new InvalidArgumentError(
    `Unknown task "${unknown}"; expected some of ${names.join(", ")}.`,
  );
}

/** @throws UsageError for flags that do not go together */
export function checkTaskFlags(
  flags: TaskFlags & { readonly data?: readonly string[] },
  given: (name: string) => boolean,
  models: number,
): void {
  const spelled = (name: string) => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
  if (flags.tasks === undefined) {
    const without = dependent.find((name) => given(name));
    if (without !== undefined) throw new UsageError(`${spelled(without)} goes with --tasks`);
    return;
  }
  const unfit = ["lengths", "save"].find((name) => given(name));
  if (unfit !== undefined) {
    throw new UsageError(`${spelled(unfit)} does not go with --tasks; --output keeps the tables`);
  }
  if (flags.chat === true && flags.base === true) {
    throw new UsageError("--chat and --base exclude each other");
  }
  if (flags.overwrite === true && flags.output === undefined) {
    throw new UsageError("--overwrite has no effect without --output");
  }
  checkSources(flags, flags.tasks, models);
}

function checkSources(
  { data, dataDir }: TaskFlags & { readonly data?: readonly string[] },
  wanted: readonly string[],
  models: number,
): void {
  const texts = textTasks.filter((name) => wanted.includes(name));
  if (texts.length > 0 && data === undefined) {
    throw new UsageError(`--tasks ${texts.join(",")} needs a text: --data FILE`);
  }
  if (texts.length === 0 && data !== undefined) {
    throw new UsageError("--data has no effect without --tasks ppl or kl");
  }
  if (wanted.includes("kl") && models < 2) {
    throw new UsageError("--tasks kl compares with the first model; name another one");
  }
  const asked = wanted.filter((name) => !texts.some((text) => text === name));
  if (asked.length > 0 && dataDir === undefined) {
    throw new UsageError(
      `--tasks ${asked.join(",")} needs the benchmarks' data: --data-dir DIR (nibble evaluate --help says what lies there)`,
    );
  }
}
