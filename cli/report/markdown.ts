// The report's main figures in Markdown (GitHub's tables), as a section of a model card.
import { formatBytes } from "../terminal/format.ts";
import { findings } from "./findings.ts";
import type { Report } from "./model.ts";
import {
  figure,
  intervalText,
  percent,
  protocolText,
  relative,
  schemeOf,
  signedPercent,
  textNames,
} from "./words.ts";

export function modelCard(report: Report): string {
  const { run } = report;
  const names = textNames(run);
  const parts = [
    "## Evaluation",
    `Measured by Nibble ${plain(run.nibble)}, ${plain(run.startedAt.slice(0, 10))}. Intervals are of 95 % confidence; a difference that chance explains is called noise.`,
    modelsTable(report),
    ...(run.models.length > 1
      ? [
          findings(run)
            .map(({ model, text }) => `- ${code(model)}: ${plain(text)}`)
            .join("\n"),
        ]
      : []),
    ...run.texts.flatMap((text, i) => textPart(text, names[i] ?? "", report)),
    ...(run.tasks.length === 0 ? [] : [tasksPart(report)]),
    "### To reproduce",
    fenced(
      [...report.quantizations.flatMap((made) => made?.command ?? []), run.command].join("\n"),
    ),
  ];
  return `${parts.join("\n\n")}\n`;
}

function modelsTable({ run: { models } }: Report): string {
  const hasSpeed = models.some(({ speed }) => speed !== null);
  const rows = models.map((model) => [
    ...[code(model.name), plain(schemeOf(model)), model.bitsPerWeight?.toFixed(2) ?? "–"],
    formatBytes(model.weightBytes),
    ...(hasSpeed
      ? [
          model.speed?.tokensPerSecond.toFixed(1) ?? "–",
          model.speed === null ? "–" : formatBytes(model.speed.peakBytes),
        ]
      : []),
  ]);
  const speed = hasSpeed ? ["tokens/s", "peak memory"] : [];
  return table(["model", "weights", "bits per weight", "size", ...speed], rows);
}

function textPart(
  text: Report["run"]["texts"][number],
  name: string,
  { run }: Report,
): readonly string[] {
  const base = text.models[0]?.perplexity ?? 1;
  const rows = text.models.map(({ perplexity, difference, divergence }, i) => [
    ...[code(run.models[i]?.name ?? ""), perplexity.toFixed(4)],
    ...(difference === null
      ? ["–", "–"]
      : [
          `${signedPercent(relative(difference, base).value)}${noiseWord(difference.isNoise)}`,
          intervalText(relative(difference, base).interval, signedPercent),
        ]),
    divergence === null ? "–" : figure(divergence.meanKl),
    divergence === null ? "–" : percent(divergence.top1),
  ]);
  const header = ["model", "perplexity", "change", "interval", "mean KL, nats", "top-1 same"];
  return [`### Perplexity on ${code(name)}`, `${protocolText(text)}.`, table(header, rows)];
}

function tasksPart({ run }: Report): string {
  const rows = run.tasks.flatMap((task) =>
    task.models.map(({ score, interval, difference }, i) => [
      ...[plain(task.title), code(run.models[i]?.name ?? "")],
      ...[percent(score), intervalText(interval, percent)],
      difference === null
        ? "–"
        : `${signedPercent(difference.value)}${noiseWord(difference.isNoise)}`,
    ]),
  );
  return `### Tasks\n\n${table(["task", "model", "score", "interval", "difference"], rows)}`;
}

function noiseWord(isNoise: boolean): string {
  return isNoise ? " (noise)" : "";
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

/** A name as code; one from a file may hold anything. */
function code(text: string): string {
  const safe = oneLine(text).replaceAll("|", "\\|");
  const longest = longestTicks(safe);
  if (longest === 0) return `\`${safe}\``;
  const ticks = "`".repeat(longest + 1);
  return `${ticks} ${safe} ${ticks}`;
}

/** Words from a file, with everything escaped that Markdown or HTML would read as more than words. */
function plain(text: string): string {
  return oneLine(text).replaceAll(/[\\`*_{}[\]<>#!|~&]/g, (character) => `\\${character}`);
}

function fenced(text: string): string {
  const safe = text.replaceAll(/[^\P{Cc}\n]/gu, " ");
  const fence = "`".repeat(Math.max(2, longestTicks(safe)) + 1);
  return `${fence}sh\n${safe}\n${fence}`;
}

function longestTicks(text: string): number {
  return Math.max(0, ...(text.match(/`+/g) ?? []).map(({ length }) => length));
}

function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ");
}
