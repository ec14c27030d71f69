// What `evaluate` prints of models on one text.
import { describeProtocol, type Evaluation } from "./evaluation.ts";
import { formatDifference, wrapText } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { type Column, formatTable } from "./terminal/table.ts";

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

export function renderEvaluation(
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
