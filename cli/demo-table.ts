import type { Score } from "../runtime/index.ts";
import type { GenerationResult } from "./generate.ts";
import { formatDifference, printable, wrapText } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { type Column, formatTable, type TableStyle } from "./terminal/table.ts";

export type DemoRow = {
  readonly scheme: string;
  readonly model: string;
  /** Over the quantized linears, scales and zeros included. */
  readonly bitsPerWeight: number;
  readonly fileBytes: number;
  readonly score: Score;
  readonly generation: GenerationResult;
};

const number = (header: string, unit: string): Column => ({ header, unit, align: "right" });

const columns: readonly Column[] = [
  { header: "scheme", align: "left" },
  number("bits per", "weight"),
  number("file", "MB"),
  number("perplexity", ""),
  number("change", "%"),
  number("KL", "nats"),
  number("top-1", "%"),
  number("speed", "tokens/s"),
  number("memory", "MB"),
];

export function renderTable(rows: readonly DemoRow[], style: TableStyle): string {
  const base = rows[0]?.score.perplexity ?? Number.NaN;
  const cells = rows.map(({ scheme, bitsPerWeight, fileBytes, score, generation }) => [
    scheme,
    bitsPerWeight.toFixed(2),
    (fileBytes / 1e6).toFixed(1),
    score.perplexity.toFixed(3),
    ...(score.divergence === undefined
      ? ["-", "-", "-"]
      : [
          formatDifference(100 * (score.perplexity / base - 1), 2),
          score.divergence.meanKl.toFixed(5),
          (100 * score.divergence.top1).toFixed(2),
        ]),
    (generation.tokensPerSecond ?? Number.NaN).toFixed(0),
    (generation.peakMemoryBytes / 1e6).toFixed(0),
  ]);
  return formatTable(columns, cells, style);
}

const sampleWidth = 76;
const sampleLines = 3;

/** The beginning of what each model wrote. */
export function renderSamples(
  rows: readonly DemoRow[],
  prompt: string,
  { colors, width }: Output,
): string {
  const samples = rows.map(({ scheme, generation }) => {
    const flowing = printable(`${prompt}${generation.text}`).replace(/\s+/g, " ");
    const lines = wrapText(flowing, Math.min(width, sampleWidth) - 2);
    const shown = lines.slice(0, sampleLines).map((line) => `  ${line}`);
    return `${colors.bold(scheme)}\n${shown.join("\n")}${lines.length > sampleLines ? " …" : ""}\n`;
  });
  return samples.join("\n");
}
