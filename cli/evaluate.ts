import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { ActivationDtype, Device } from "../kernels/index.ts";
import {
  type CacheDtype,
  cacheDtypes,
  type HeadMode,
  type LongContext,
  writeFileAtomic,
} from "../runtime/index.ts";
import {
  type AllowedSpecial,
  allowedSpecial,
  type CommonFlags,
  integer,
  path,
  repeated,
} from "./arguments.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { UsageError } from "./errors.ts";
import { evaluateTasks } from "./evaluate-tasks/task-evaluation.ts";
import { addTaskFlags, checkTaskFlags, type TaskFlags } from "./evaluate-tasks/task-flags.ts";
import { renderRun } from "./evaluate-tasks/task-table.ts";
import { type EvaluatedArithmetic, type EvaluatedModel, evaluateModels } from "./evaluation.ts";
import { evaluationJson, renderEvaluation } from "./evaluation-table.ts";
import { evaluateLengths, renderLengths } from "./length-evaluation.ts";
import { modelDirectories } from "./model-directory.ts";
import { shellQuoted } from "./terminal/format.ts";
import { tokenTable } from "./token-table.ts";

type EvaluateFlags = CommonFlags &
  TaskFlags & {
    readonly data?: readonly string[];
    readonly window: number;
    readonly stride?: number;
    readonly maxTokens?: number;
    readonly allowedSpecial: AllowedSpecial;
    readonly lengths?: readonly number[];
    readonly ntk?: SwitchName;
    readonly logn?: SwitchName;
    readonly save?: string;
    readonly head?: HeadMode;
    readonly activations?: ActivationDtype;
    readonly kv?: CacheDtype;
  };

const switches = { on: [true], off: [false], both: [false, true] } as const;
type SwitchName = keyof typeof switches;

export const evaluate: CommandSpec = {
  name: "evaluate",
  define: (command) => {
    command
      .description(
        "Perplexity of models on a text, or scores on benchmarks (--tasks); with several, how far each is from the " +
          "first: difference of perplexity, KL divergence and how often the most likely token is the same.",
      )
      .argument(
        "<model...>",
        "model directories or model ids, the original first",
        modelDirectories,
      )
      .option("--data <file>", "text to score, UTF-8; with --tasks it may be repeated", dataFile)
      .option("--window <tokens>", "tokens per pass", integer(2), 512)
      .option(
        "--stride <tokens>",
        "from one window to the next (default: the window, no overlap)",
        integer(1),
      )
      .option("--max-tokens <n>", "only the first tokens of the text", integer(2))
      .option(
        "--allowed-special <forms>",
        "control tokens to read as such in the text: all, none, or a list",
        allowedSpecial,
        "all",
      )
      .option(
        "--lengths <list>",
        "perplexity at each of these context lengths, such as 1024,2048,4096",
        lengthList,
      )
      .addOption(switchOption("--ntk", "dynamic NTK"))
      .addOption(switchOption("--logn", "LogN attention"))
      .addOption(
        new Option(
          "--head <mode>",
          "output head of every model but the first, or of the only one, to see what it costs (default: exact)",
        ).choices(["exact", "int8"]),
      )
      .addOption(
        new Option(
          "--activations <dtype>",
          "the same for activations of quantized models (default: int16)",
        ).choices(["int16", "int8"]),
      )
      .addOption(
        new Option(
          "--kv <dtype>",
          "the same for keys and values, all of which are read back from a cache (default: f32)",
        ).choices(cacheDtypes),
      )
      .option("--save <file>", "each scored token's losses, as an Arrow file", arrowFile);
    addTaskFlags(command);
    command.addHelpText("after", examples);
  },
  run: runEvaluate,
};

const examples = `
The text is tokenized whole and cut into windows. The first window scores all
but its first token, later ones what no window before them scored; a tail that
fills no window is dropped.

--lengths cuts the text anew for each length, without overlap, and compares the
model with dynamic NTK and LogN attention on and off, also beyond the length it
is meant for. Up to the trained length neither changes anything.

--save writes a row per scored token: its window, position and id, and for each
model its loss and from the second on its KL divergence from the first.

Models take turns: neither has to fit in memory whole, unless they answer
questions (--tasks other than ppl and kl).

--tasks asks and scores as Qwen's own scripts do, each model in turn:
  mmlu, ceval, cmmlu  multiple choice; base models by the logits of the letters
                      after 5 examples, chat models in words
  gsm8k               arithmetic; base models after 8 examples
  humaneval           Python; a score only with --run-generated-code
  tool-use            calls of tools in ReAct form, chat models
  ppl, kl             as without --tasks, on every --data
Each score has its interval of 95 %; against the first model also McNemar's
test or a paired bootstrap, and whether the difference is noise.

--data-dir holds the benchmarks as they are published: mmlu/{dev,test}/*.csv,
ceval/{dev,val}/*.csv, cmmlu/{dev,test}/*.csv, gsm8k/{train,test}.jsonl,
HumanEval.jsonl[.gz], exam_plugin_v20231206_react_{positive,negative}.jsonl.
Nothing is downloaded; an error says where to get what is missing.

Examples:
  nibble evaluate qwen-mini --data evaluation.txt
  nibble evaluate qwen-mini qwen-mini-int4 --data evaluation.txt --json
  nibble evaluate qwen-mini --data evaluation.txt --window 1024 --stride 512
  nibble evaluate my-int4 my-int4 --data evaluation.txt --head int8
  nibble evaluate my-int4 --data evaluation.txt --kv int8
  nibble evaluate Qwen-7B --data book.txt --lengths 4096,8192,16384 --ntk on
  nibble evaluate A A-int4 --tasks mmlu,gsm8k --data-dir data --output run
  nibble evaluate A A-int4 --tasks ppl,kl --data a.txt --data b.txt --output run
`;

function switchOption(flag: string, what: string): Option {
  return new Option(
    `${flag} <setting>`,
    `${what} (default: as config.json has it; both with --lengths)`,
  ).choices(Object.keys(switches));
}

function dataFile(text: string, earlier: readonly string[] | undefined): readonly string[] {
  return repeated(path(text), earlier);
}

function arrowFile(text: string): string {
  if (/[^/]\.arrow$/.test(text)) return text;
  throw new InvalidArgumentError("Expected a file name that ends in .arrow.");
}

function lengthList(text: string): readonly number[] {
  const parse = integer(2, 1_048_576);
  return [...new Set(text.split(",").map((part) => parse(part)))];
}

async function runEvaluate(command: Command, context: CommandContext): Promise<void> {
  const [models = []] = command.processedArgs as string[][];
  const flags = command.opts<EvaluateFlags>();
  checkFlags(flags, command);
  checkTaskFlags(flags, (name) => command.getOptionValueSource(name) === "cli", models.length);
  const { window, stride = window, maxTokens, lengths } = flags;
  using device = openComputeDevice(flags);
  if (flags.tasks !== undefined) {
    await runTasks(models, flags, { ...context, device });
    return;
  }
  const common = { models, data: onlyText(flags), maxTokens, allowedSpecial: flags.allowedSpecial };
  if (lengths !== undefined) {
    const { ntk = "both", logn = "both" } = flags;
    const compared = { dynamicNtk: switches[ntk], logn: switches[logn] };
    const byLength = await evaluateLengths(
      { ...common, ...compared, lengths },
      { ...context, device },
    );
    context.output.result(byLength, () => renderLengths(byLength, context.output));
    return;
  }
  const arithmetic = arithmeticOf(flags);
  const evaluation = await evaluateModels(
    {
      ...common,
      ...{ window, stride, longContext: longContextOf(flags), arithmetic },
      models: evaluatedModels(models, arithmetic),
    },
    { ...context, device },
  );
  if (flags.save !== undefined) writeFileAtomic(flags.save, await tokenTable(models, evaluation));
  context.output.result(evaluationJson(models, evaluation), () =>
    renderEvaluation(models, evaluation, context.output),
  );
}

/** Flags of arithmetic are for every model but the first, or for the only one. */
function evaluatedModels(
  models: readonly string[],
  arithmetic: EvaluatedArithmetic,
): readonly EvaluatedModel[] {
  return models.map((dir, i) => (i === 0 && models.length > 1 ? { dir } : { dir, arithmetic }));
}

async function runTasks(
  models: readonly string[],
  flags: EvaluateFlags,
  context: CommandContext & { readonly device: Device },
): Promise<void> {
  const { window, stride = window, maxTokens, allowedSpecial, data = [] } = flags;
  const arithmetic = arithmeticOf(flags);
  const longContext = longContextOf(flags);
  const run = await evaluateTasks(
    {
      ...{ models: evaluatedModels(models, arithmetic), texts: data, flags },
      text: { window, stride, maxTokens, allowedSpecial, arithmetic, longContext },
      command: ["nibble", ...process.argv.slice(2)].map(shellQuoted).join(" "),
      threads: flags.threads ?? availableParallelism(),
      deviceName: flags.device,
    },
    context,
  );
  context.output.result(run, () => renderRun(run, context.output));
}

/** @throws UsageError unless exactly one text is given */
function onlyText({ data = [] }: EvaluateFlags): string {
  const [text, ...others] = data;
  if (text === undefined) throw new UsageError("give a text to score: --data FILE, or --tasks");
  if (others.length === 0) return text;
  throw new UsageError("--data may be repeated only with --tasks");
}

function checkFlags(flags: EvaluateFlags, command: Command): void {
  const { window, stride = window, lengths, ntk, logn, save } = flags;
  // Found now rather than after the evaluation.
  if (save !== undefined && !existsSync(dirname(save))) {
    throw new UsageError(`--save ${save}: the directory does not exist`);
  }
  if (stride > window) {
    throw new UsageError(
      `--stride ${stride} is more than --window ${window}: tokens would be left out`,
    );
  }
  if (lengths === undefined && (ntk === "both" || logn === "both")) {
    const flag = ntk === "both" ? "--ntk" : "--logn";
    throw new UsageError(`${flag} both compares by --lengths; give some, or on or off`);
  }
  const given = ["window", "stride", "save", "head", "activations", "kv"].filter(
    (name) => command.getOptionValueSource(name) === "cli",
  );
  if (lengths !== undefined && given.length > 0) {
    throw new UsageError(`--${given[0]} does not go with --lengths, which cuts windows of its own`);
  }
}

function arithmeticOf({ head, activations, kv }: EvaluateFlags): EvaluatedArithmetic {
  return {
    ...(head === undefined ? {} : { head }),
    ...(activations === undefined ? {} : { activations }),
    ...(kv === undefined ? {} : { kvCache: kv }),
  };
}

function longContextOf({ ntk, logn }: EvaluateFlags): Partial<LongContext> {
  return {
    ...(ntk === undefined ? {} : { dynamicNtk: ntk === "on" }),
    ...(logn === undefined ? {} : { logn: logn === "on" }),
  };
}
