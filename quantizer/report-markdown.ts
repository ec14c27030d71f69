// A report for people, in the form of a section of a model card.
import { basename, resolve } from "node:path";
import type { Recipe, RecipeRule } from "./recipe.ts";
import type { LinearReport, QuantizationReport } from "./report.ts";

const worstCount = 10;

/** The report as Markdown (GitHub's tables). Of paths only the last part is shown, except in the command. */
export function reportMarkdown(report: QuantizationReport): string {
  const { recipe } = report;
  const sections = [
    `# ${inline(lastPart(report.source))}, int${recipe.bits}`,
    `Quantized to the GPTQ layout by Nibble ${report.nibble}, method ${recipe.method}.`,
    table(["", ""], facts(report)),
    worstLinears(report.linears),
    fallbacks(report.linears),
    losses(report),
    ...(report.command === undefined ? [] : ["## Made with", fenced(report.command, "sh")]),
    "All linears are in report.json, and as a table in report.arrow.",
  ];
  return `${sections.join("\n\n")}\n`;
}

function facts(report: QuantizationReport): readonly (readonly string[])[] {
  const { recipe, adapter } = report;
  const phases = Object.entries(report.phases).map(
    ([name, seconds]) => `${name} ${fixed(seconds)}`,
  );
  return [
    ["source", inline(lastPart(report.source))],
    ...(adapter === undefined ? [] : [["LoRA adapter", inline(lastPart(adapter))]]),
    ["scheme", describeScheme(recipe)],
    ...recipe.rules.map((rule) => [`of ${inline(rule.pattern)}`, describeRule(rule)]),
    [
      "bits per weight",
      `${report.bitsPerWeight.toFixed(2)} (quantized linears, with scales and zeros)`,
    ],
    ["size", `${megabytes(report.tensorBytes)} MB of tensors`],
    ["other tensors", recipe.dtype],
    ["calibration", describeCalibration(report)],
    ["time", `${fixed(report.seconds)} s (${phases.join(", ")})`],
  ];
}

function describeCalibration({ calibration, statistics, linears }: QuantizationReport): string {
  if (statistics !== undefined) {
    return `kept statistics (${inline(lastPart(statistics))}), ${linears[0]?.tokens ?? 0} tokens`;
  }
  const { segments, tokens, counted } = calibration;
  if (tokens === 0) return "none";
  return `${segments} segments, ${tokens} tokens, of which ${counted} count`;
}

function describeScheme(recipe: Recipe): string {
  const { bits, groupSize, symmetric, order, grid, damping, compat, gptaq } = recipe;
  const groups = groupSize === -1 ? "one group per output" : `groups of ${groupSize}`;
  const signs = recipe.signedScales ? " with signed scales" : "";
  const kind = symmetric ? `symmetric${signs}` : "asymmetric";
  const like = compat === "none" ? "" : `, as ${compat} does it`;
  const refined = { none: "", scales: ", scales refined", codes: ", scales and codes refined" };
  const steps = `${order}, ${grid} grid, damping ${damping}${refined[recipe.refine]}`;
  const aim = gptaq === 0 ? "" : `, GPTAQ ${gptaq}`;
  return `int${bits}, ${groups}, ${kind}, ${steps}${aim}${like}`;
}

function describeRule(rule: RecipeRule): string {
  if ("skip" in rule) return "stays float";
  const { bits, groupSize } = rule;
  const groups = groupSize === -1 ? "one group per output" : `groups of ${groupSize}`;
  return [
    ...(bits === undefined ? [] : [`int${bits}`]),
    ...(groupSize === undefined ? [] : [groups]),
  ].join(", ");
}

function worstLinears(linears: readonly LinearReport[]): string {
  const measured = linears.filter(({ relativeError }) => relativeError !== undefined);
  if (measured.length === 0) return "No linear was measured: there were no calibration tokens.";
  const worst = measured
    .toSorted((a, b) => (b.relativeError ?? 0) - (a.relativeError ?? 0))
    .slice(0, worstCount);
  const rows = worst.map(({ name, inFeatures, outFeatures, relativeError, loss, damping }) => [
    inline(name),
    `${outFeatures} × ${inFeatures}`,
    (100 * (relativeError ?? 0)).toFixed(3),
    (loss ?? 0).toPrecision(4),
    `${damping}`,
  ]);
  const header = ["linear", "out × in", "relative error %", "loss", "damping"];
  return `## Largest errors\n\nSquared output error over squared output, on the calibration tokens.\n\n${table(header, rows)}`;
}

function fallbacks(linears: readonly LinearReport[]): string {
  const lines = linears.flatMap(({ name, fallback }) =>
    fallback === undefined ? [] : [`- ${inline(name)}: ${inline(fallback)}`],
  );
  if (lines.length === 0) return "No linear needed another method or damping than asked for.";
  return `## Fallbacks\n\n${lines.join("\n")}`;
}

function losses({ conversions, unused, recipe }: QuantizationReport): string {
  const lines = [
    ...conversions.map(
      ({ name, overflowed, flushed }) =>
        `- ${inline(name)}: as ${recipe.dtype} ${overflowed} values became infinite and ${flushed} became zero`,
    ),
    ...unused.map((name) => `- ${inline(name)}: left out, the model makes no use of it`),
  ];
  if (lines.length === 0) return "Every other tensor was kept as it is in 16 bits.";
  return `## Other tensors\n\n${lines.join("\n")}`;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

/** A name as code; one from a file may hold anything. */
function inline(text: string): string {
  const safe = printable(text).replaceAll("|", "\\|");
  const longest = Math.max(0, ...(safe.match(/`+/g) ?? []).map(({ length }) => length));
  if (longest === 0) return `\`${safe}\``;
  const ticks = "`".repeat(longest + 1);
  return `${ticks} ${safe} ${ticks}`;
}

function fenced(text: string, language: string): string {
  const safe = printable(text);
  const longest = Math.max(2, ...(safe.match(/`+/g) ?? []).map(({ length }) => length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${safe}\n${fence}`;
}

function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ");
}

function lastPart(path: string): string {
  return basename(resolve(path));
}

function fixed(seconds: number): string {
  return seconds.toFixed(1);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
