// A comparison as text for a terminal or a pipe.
import { plural, printable, wrapText } from "../terminal/format.ts";
import type { Output } from "../terminal/output.ts";
import { type Column, formatTable } from "../terminal/table.ts";
import type { ComparedPrompt, Parting } from "./comparison.ts";
import { besideOneAnother, breakLines, columnWidth, type StyledText } from "./two-columns.ts";

type Style = Pick<Output, "colors" | "tableStyle" | "width">;

/** @param names  of the two models */
export function renderComparison(
  names: readonly [string, string],
  prompts: readonly ComparedPrompt[],
  style: Style,
): string {
  const parts = prompts.map((prompt, i) =>
    [
      ...heading(prompt, i, style),
      "",
      ...outputLines(names, prompt, style),
      "",
      ...outcomeLines(names, prompt, style),
    ].join("\n"),
  );
  const last = wrapText(summary(prompts), style.width).join("\n");
  return [...parts, last].join("\n\n");
}

function heading(
  { prompt }: ComparedPrompt,
  i: number,
  { colors, width }: Style,
): readonly string[] {
  const text = printable(`Prompt ${i + 1}: ${prompt}`);
  const lines = Number.isFinite(width)
    ? breakLines(text, width).map((line) => line.trimEnd())
    : [text];
  return lines.map((line) => colors.bold(line));
}

function outputLines(
  names: readonly [string, string],
  { outputs, commonText }: ComparedPrompt,
  { colors, width }: Style,
): readonly string[] {
  const [left, right] = outputs.map((output): StyledText => {
    const text = printable(output);
    const common = printable(commonText);
    return { text, faint: text.startsWith(common) ? common.length : 0 };
  }) as [StyledText, StyledText];
  const cells = columnWidth(width);
  if (cells === undefined) {
    const one = (name: string, { text }: StyledText) => [
      colors.bold(printable(name)),
      ...(Number.isFinite(width) ? breakLines(text, width).map((line) => line.trimEnd()) : [text]),
    ];
    return [...one(names[0], left), "", ...one(names[1], right)];
  }
  const titles = names.map((name) => ({ text: printable(name), faint: 0 }));
  return [
    ...besideOneAnother(titles[0] ?? left, titles[1] ?? right, cells, colors.dim).map(colors.bold),
    ...besideOneAnother(left, right, cells, colors.dim),
  ];
}

function outcomeLines(
  names: readonly [string, string],
  { difference, commonTokens }: ComparedPrompt,
  style: Style,
): readonly string[] {
  if (difference === null) {
    return wrapText(`Nothing differs: ${plural(commonTokens, "token")} in common.`, style.width);
  }
  const text = `${plural(commonTokens, "token")} in common. Then ${chosenWords(names, difference)}; both models there:`;
  return [...wrapText(text, style.width), "", partingTable(names, difference, style)];
}

function chosenWords([a, b]: readonly [string, string], { chosen }: Parting): string {
  const [first, second] = chosen.map(({ text }) => quoted(text));
  return `${printable(a)} has ${first}, ${printable(b)} ${second}`;
}

function partingTable(
  names: readonly [string, string],
  { candidates, chosen }: Parting,
  { tableStyle }: Style,
): string {
  const columns: readonly Column[] = [
    { header: "next token", align: "left" },
    ...names.map((name): Column => ({ header: printable(name), unit: "%", align: "right" })),
  ];
  const cell = (probability: number, isChosen: boolean) =>
    `${isChosen ? "* " : ""}${(100 * probability).toFixed(2)}`;
  const rows = candidates.map(({ id, text, probabilities }) => [
    quoted(text),
    ...probabilities.map((probability, i) => cell(probability, chosen[i]?.id === id)),
  ]);
  return formatTable(columns, rows, tableStyle);
}

/** A token with its spaces and line feeds in sight. */
function quoted(text: string): string {
  return printable(JSON.stringify(text));
}

function summary(prompts: readonly ComparedPrompt[]): string {
  const same = prompts.filter(({ difference }) => difference === null).length;
  if (same === prompts.length) {
    return prompts.length === 1
      ? "Both models give the same output."
      : `Both models give the same output for all ${prompts.length} prompts.`;
  }
  return `The same output for ${same} of ${plural(prompts.length, "prompt")}.`;
}
