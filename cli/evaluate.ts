import type { Command } from "commander";
import { openDevice } from "../kernels/index.ts";
import { type CommonFlags, integer, path } from "./arguments.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { UsageError } from "./errors.ts";
import { describeProtocol, type Evaluation, evaluateModels } from "./evaluation.ts";
import { modelDirectories } from "./model-directory.ts";
import { formatDifference, wrapText } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { type Column, formatTable } from "./terminal/table.ts";

type EvaluateFlags = CommonFlags & {
  readonly data: string;
  readonly window: number;
  readonly stride?: number;
  readonly maxTokens?: number;
};

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
      .addHelpText("after", examples);
  },
  run: runEvaluate,
};

const examples = `
The text is tokenized whole and cut into windows. The first window scores all
but its first token, later ones what no window before them scored; a tail that
fills no window is dropped.

Examples:
  nibble evaluate qwen-mini --data evaluation.txt
  nibble evaluate qwen-mini qwen-mini-int4 --data evaluation.txt --json
  nibble evaluate qwen-mini --data evaluation.txt --window 1024 --stride 512
`;

async function runEvaluate(command: Command, context: CommandContext): Promise<void> {
  const [models = []] = command.processedArgs as string[][];
  const { data, window, stride = window, maxTokens, threads } = command.opts<EvaluateFlags>();
  if (stride > window) {
    throw new UsageError(
      `--stride ${stride} is more than --window ${window}: tokens would be left out`,
    );
  }
  using device = openDevice(threads === undefined ? {} : { threads });
  const evaluation = await evaluateModels(
    { models, data, window, stride, maxTokens },
    { ...context, device },
  );
  context.output.result(evaluationJson(models, evaluation), () =>
    renderEvaluation(models, evaluation, context.output),
  );
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
  { protocol, scores }: Evaluation,
  { colors, tableStyle, width }: Output,
): string {
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
  const lines = wrapText(describeProtocol(protocol), width).map((line) => colors.dim(line));
  return `${lines.join("\n")}\n\n${table}`;
}
