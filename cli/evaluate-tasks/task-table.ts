// A run's result as text: a table for each text and each measure.
import type { Interval } from "../../runtime/index.ts";
import type {
  Difference,
  EvaluationRun,
  SampleResult,
  TaskResult,
  TextResult,
  UnscoredTask,
} from "../run-directory/format.ts";
import { formatDifference, plural, printable, wrapText } from "../terminal/format.ts";
import type { Output } from "../terminal/output.ts";
import { type Column, formatTable } from "../terminal/table.ts";

const right = (header: string, unit?: string): Column => ({
  ...{ header, align: "right" },
  ...(unit === undefined ? {} : { unit }),
});
const model: Column = { header: "model", align: "left" };

const textColumns: readonly Column[] = [
  ...[model, right("perplexity"), right("95 %"), right("change"), right("95 %"), right("is")],
  ...[right("KL mean", "nats"), right("95 %", "nats"), right("top-1 same", "%")],
];

const taskColumns: readonly Column[] = [
  ...[model, right("score", "%"), right("95 %", "%"), right("change", "points")],
  ...[right("95 %", "points"), right("p"), right("is")],
];

export function renderRun(run: EvaluationRun, output: Output): string {
  const names = run.models.map(({ name }) => printable(name));
  return [
    ...run.texts.map((text) => renderText(text, names, output)),
    ...run.tasks.map((task) => renderTask(task, names, output)),
    ...(run.unscored ?? []).map((task) => renderUnscored(task, output)),
    ...run.samples.map((sample) => renderSample(sample, names, output)),
  ].join("\n\n");
}

function renderText(
  { protocol, models }: TextResult,
  names: readonly string[],
  { colors, tableStyle, width }: Output,
): string {
  const rows = models.map(({ perplexity, interval, difference, divergence }, i) => [
    ...[names[i] ?? "", perplexity.toFixed(4)],
    interval === undefined ? "-" : range(interval, (value) => value.toFixed(4)),
    ...(difference === null || divergence === null
      ? ["-", "-", "-", "-", "-", "-"]
      : [
          formatDifference(difference.value, 4),
          range(difference.interval, (value) => formatDifference(value, 4)),
          verdict(difference),
          divergence.meanKl.toFixed(5),
          range(divergence.interval, (value) => value.toFixed(5)),
          (100 * divergence.top1).toFixed(2),
        ]),
  ]);
  const shown = models.length === 1 ? textColumns.slice(0, 3) : textColumns;
  const lines = wrapText(printable(protocol), width).map((line) => colors.dim(line));
  return `${lines.join("\n")}\n\n${formatTable(shown, rows, tableStyle)}`;
}

function renderTask(
  task: TaskResult,
  names: readonly string[],
  { colors, tableStyle, width }: Output,
): string {
  const heading = `${task.title}: ${task.metric}; ${plural(task.items, "item")} of ${task.data}`;
  const notes = [heading, ...task.notes].flatMap((line) => wrapText(printable(line), width));
  const rows = task.models.map(({ score, interval, difference }, i) => [
    ...[names[i] ?? "", percent(score), range(interval, percent)],
    ...(difference === null
      ? ["-", "-", "-", "-"]
      : [
          points(difference.value),
          range(difference.interval, points),
          difference.pValue === null ? "-" : difference.pValue.toPrecision(2),
          verdict(difference),
        ]),
  ]);
  const lines = notes.map((line) => colors.dim(line)).join("\n");
  const shown = rows.length === 1 ? taskColumns.slice(0, 3) : taskColumns;
  return `${lines}\n\n${formatTable(shown, rows, tableStyle)}`;
}

function renderUnscored(
  { title, items, data, notes, answers }: UnscoredTask,
  { colors, width }: Output,
): string {
  const lines = [`${title}: ${plural(items, "item")} of ${data}`, ...notes, ...answers];
  return lines
    .flatMap((line) => wrapText(printable(line), width))
    .map((line) => colors.dim(line))
    .join("\n");
}

function renderSample(
  { prompt, outputs }: SampleResult,
  names: readonly string[],
  { colors, width }: Output,
): string {
  const answers = outputs.map(({ pieces }, i) => {
    const text = wrapText(printable(pieces.join("")), width).join("\n");
    return `${colors.bold(names[i] ?? "")}\n${text}`;
  });
  return [colors.dim(printable(prompt)), ...answers].join("\n");
}

function verdict({ isNoise }: Difference): string {
  return isNoise ? "noise" : "a difference";
}

function range({ low, high }: Interval, format: (value: number) => string): string {
  return `${format(low)} … ${format(high)}`;
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}

function points(share: number): string {
  return formatDifference(100 * share, 1);
}
