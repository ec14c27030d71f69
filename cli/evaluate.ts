import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { ActivationDtype } from "../kernels/index.ts";
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
} from "./arguments.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { UsageError } from "./errors.ts";
import {
  describeProtocol,
  type EvaluatedArithmetic,
  type Evaluation,
  evaluateModels,
} from "./evaluation.ts";
import { evaluateLengths, renderLengths } from "./length-evaluation.ts";
import { modelDirectories } from "./model-directory.ts";
import { formatDifference, wrapText } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { type Column, formatTable } from "./terminal/table.ts";
import { tokenTable } from "./token-table.ts";

type EvaluateFlags = CommonFlags & {
  readonly data: string;
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
        "Perplexity of models on a text; with several, how far each is from the first: difference of perplexity, " +
          "KL divergence and how often the most likely token is the same.",
      )
      .argument(
        "<model...>",
        "model directories or model ids, the original first",
        modelDirectories,
      )
      .requiredOption("--data <file>", "text to score, UTF-8", path)
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
      .option("--save <file>", "each scored token's losses, as an Arrow file", arrowFile)
      .addHelpText("after", examples);
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

Models take turns: neither has to fit in memory whole.

Examples:
  nibble evaluate qwen-mini --data evaluation.txt
  nibble evaluate qwen-mini qwen-mini-int4 --data evaluation.txt --json
  nibble evaluate qwen-mini --data evaluation.txt --window 1024 --stride 512
  nibble evaluate my-int4 my-int4 --data evaluation.txt --head int8
  nibble evaluate my-int4 --data evaluation.txt --kv int8
  nibble evaluate Qwen-7B --data book.txt --lengths 4096,8192,16384 --ntk on
`;

function switchOption(flag: string, what: string): Option {
  return new Option(
    `${flag} <setting>`,
    `${what} (default: as config.json has it; both with --lengths)`,
  ).choices(Object.keys(switches));
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
  const { data, window, stride = window, maxTokens, lengths, threads } = flags;
  const common = { models, data, maxTokens, allowedSpecial: flags.allowedSpecial };
  using device = openComputeDevice(threads === undefined ? {} : { threads });
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
      models: models.map((dir, i) =>
        i === 0 && models.length > 1 ? { dir } : { dir, arithmetic },
      ),
    },
    { ...context, device },
  );
  if (flags.save !== undefined) writeFileAtomic(flags.save, await tokenTable(models, evaluation));
  context.output.result(evaluationJson(models, evaluation), () =>
    renderEvaluation(models, evaluation, context.output),
  );
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

/** The object that --json prints; differences are against the first model. */
export function evaluationJson(models: readonly string[], evaluation: Evaluation): object {
  const base = evaluation.scores[0]?.perplexity ?? Number.NaN;
  return {
    protocol: evaluation.protocol,
    models: evaluation.scores.map(({ perplexity, loss, divergence }, i) => ({
      ...{ model: models[i], perplexity, loss },
      ...(divergence === undefined
        ? {}
        : { difference: perplexity - base, relativeDifference: perplexity / base - 1, divergence }),
    })),
  };
}

const columns: readonly Column[] = [
  { header: "model", align: "left" },
  { header: "perplexity", align: "right" },
  { header: "change", align: "right" },
  { header: "change", unit: "%", align: "right" },
  { header: "KL mean", unit: "nats", align: "right" },
  { header: "top-1 same", unit: "%", align: "right" },
];

function renderEvaluation(
  models: readonly string[],
  evaluation: Evaluation,
  { colors, tableStyle, width }: Output,
): string {
  const { scores } = evaluation;
  const base = scores[0]?.perplexity ?? Number.NaN;
  const rows = scores.map(({ perplexity, divergence }, i) => [
    models[i] ?? "",
    perplexity.toFixed(4),
    ...(divergence === undefined
      ? ["-", "-", "-", "-"]
      : [
          formatDifference(perplexity - base, 4),
          formatDifference(100 * (perplexity / base - 1), 2),
          divergence.meanKl.toFixed(5),
          (100 * divergence.top1).toFixed(2),
        ]),
  ]);
  const shown = scores.length === 1 ? columns.slice(0, 2) : columns;
  const table = formatTable(shown, rows, tableStyle);
  const lines = wrapText(describeProtocol(evaluation), width).map((line) => colors.dim(line));
  return `${lines.join("\n")}\n\n${table}`;
}
