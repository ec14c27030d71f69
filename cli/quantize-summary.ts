import type { LinearReport, QuantizationReport, Recipe, RecipeRule } from "../quantizer/index.ts";
import { formatBytes, formatCount, formatSeconds, plural, shellQuoted } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { formatTable, type TableStyle } from "./terminal/table.ts";

export type SummaryContext = {
  readonly dir: string;
  /** Of the source's weight files, for people. */
  readonly sourceSize: string;
  readonly colors: Output["colors"];
};

const worstCount = 3;
const listedCount = 5;

/** What a user wants to know after a run; report.json has the rest. */
export function renderSummary(report: QuantizationReport, context: SummaryContext): string {
  const { colors, dir } = context;
  const field = (name: string, lines: readonly string[]): string =>
    lines.map((line, i) => `  ${colors.dim((i === 0 ? name : "").padEnd(12))} ${line}`).join("\n");
  const linears = plural(report.linears.length, "linear");
  return [
    colors.bold(describeRecipe(report.recipe)),
    ...optional("adapter", report.adapter === undefined ? [] : [report.adapter], field),
    field("weights", [`${linears} at ${report.bitsPerWeight.toFixed(2)} bits per weight`]),
    ...optional("exceptions", shortened(report.recipe.rules.map(describeRule)), field),
    field("size", [`${formatBytes(report.tensorBytes)} (before: ${context.sourceSize})`]),
    ...optional("calibration", calibrationLines(report), field),
    ...optional("worst error", worstLinears(report.linears), field),
    ...optional("fallbacks", fallbacks(report.linears), field),
    ...optional("dead inputs", deadInputs(report.linears), field),
    ...optional("conversions", conversions(report), field),
    ...optional("left out", shortened(report.unused.map(unusedLine)), field),
    ...optional("not copied", report.files.skipped, field),
    ...optional("on disk", spilled(report), field),
    field("time", [formatSeconds(report.seconds), ...phases(report)]),
    field("result", [dir]),
    "",
    ...nextSteps(report, dir),
  ].join("\n");
}

/** With an adapter, what the result is to be compared with has to be made first. */
function nextSteps({ source, adapter }: QuantizationReport, dir: string): readonly string[] {
  const merge = `nibble merge ${shellQuoted(source)} --adapter ${shellQuoted(adapter ?? "")} -o MERGED`;
  const original = adapter === undefined ? shellQuoted(source) : "MERGED";
  const commands = [
    ...(adapter === undefined ? [] : [merge]),
    `nibble evaluate ${original} ${shellQuoted(dir)} --data TEXT_FILE`,
    `nibble generate ${shellQuoted(dir)} --prompt "…"`,
  ];
  return commands.map((command, i) => `${i === 0 ? "Next:" : "     "} ${command}`);
}

function calibrationLines({
  calibration,
  statistics,
  linears,
}: QuantizationReport): readonly string[] {
  if (statistics !== undefined)
    return [`${statistics}, ${plural(linears[0]?.tokens ?? 0, "token")}`];
  const { segments, tokens, counted } = calibration;
  if (segments === 0) return [];
  const some = counted < tokens ? `, ${counted} counted` : "";
  return [`${plural(segments, "segment")}, ${plural(tokens, "token")}${some}`];
}

/** Every linear in the order it was quantized. */
export function renderLinears(report: QuantizationReport, style: TableStyle): string {
  const rows = report.linears.map((linear) => [
    linear.name.replace(/^transformer\./, ""),
    linear.method,
    `${linear.bits}`,
    `${linear.inFeatures}`,
    `${linear.outFeatures}`,
    linear.relativeError === undefined ? "-" : linear.relativeError.toExponential(2),
    linear.damping === 0 ? "-" : `${linear.damping}`,
    `${linear.deadInputs}`,
    linear.seconds.toFixed(2),
  ]);
  const number = (header: string, unit = "") => ({ header, unit, align: "right" }) as const;
  return formatTable(
    [
      { header: "linear", align: "left" },
      { header: "method", align: "left" },
      number("bits"),
      number("in"),
      number("out"),
      number("error", "relative"),
      number("damping"),
      number("dead", "inputs"),
      number("time", "s"),
    ],
    rows,
    style,
  );
}

export function describeRecipe(recipe: Recipe): string {
  const { bits, groupSize, symmetric, method, order, compat, rules, refine, gptaq } = recipe;
  const orders = {
    "in-order": "columns in order",
    "act-order": "act-order with dynamic groups",
    "act-order-static": "act-order",
  } as const;
  const parts = [
    `int${bits}`,
    groupSize === -1 ? "one group per output" : `groups of ${groupSize}`,
    symmetric ? "symmetric" : "asymmetric",
    method,
    ...(method === "rtn" ? [] : [orders[order]]),
    ...(refine === "none" ? [] : [`${refine} refined`]),
    ...(gptaq === 0 ? [] : [`GPTAQ ${gptaq}`]),
    ...(compat === "none" ? [] : [`as ${compat}`]),
    ...(rules.length === 0 ? [] : [`with ${plural(rules.length, "exception")}`]),
  ];
  return parts.join(", ");
}

export function describeRule(rule: RecipeRule): string {
  if ("skip" in rule) return `${rule.pattern}: stays float`;
  const { bits, groupSize } = rule;
  const settings = [
    ...(bits === undefined ? [] : [`int${bits}`]),
    ...(groupSize === undefined
      ? []
      : [groupSize === -1 ? "one group per output" : `groups of ${groupSize}`]),
  ];
  return `${rule.pattern}: ${settings.join(", ")}`;
}

function spilled({ spilledBytes }: QuantizationReport): readonly string[] {
  return spilledBytes === 0
    ? []
    : [`${formatBytes(spilledBytes)} of hidden states, for want of memory`];
}

/** Where the time of a long run went. */
function phases({
  phases: { convert, forward, hessian, solve },
  seconds,
}: QuantizationReport): readonly string[] {
  if (seconds < 10) return [];
  return [
    `${formatSeconds(solve)} choosing codes, ${formatSeconds(hessian)} Hessians`,
    `${formatSeconds(forward)} running blocks, ${formatSeconds(convert)} other tensors`,
  ];
}

function worstLinears(linears: readonly LinearReport[]): readonly string[] {
  return linears
    .flatMap(({ name, relativeError }) =>
      relativeError === undefined ? [] : [{ name, relativeError }],
    )
    .sort((a, b) => b.relativeError - a.relativeError)
    .slice(0, worstCount)
    .map(({ name, relativeError }, i, [largest]) => {
      const { length } = (100 * (largest?.relativeError ?? 0)).toFixed(3);
      const percent = `${(100 * relativeError).toFixed(3).padStart(length)} %`;
      return `${percent} ${name}${i === 0 ? " (of squared output)" : ""}`;
    });
}

function fallbacks(linears: readonly LinearReport[]): readonly string[] {
  const lines = linears.flatMap(({ name, fallback }) =>
    fallback === undefined ? [] : [`${name}: ${fallback}`],
  );
  return shortened(lines);
}

function deadInputs(linears: readonly LinearReport[]): readonly string[] {
  const affected = linears.filter((linear) => linear.deadInputs > 0);
  const lines = affected.map(
    ({ name, deadInputs: dead, inFeatures }) =>
      `${name}: ${formatCount(dead)} of ${formatCount(inFeatures)}, their weights became 0`,
  );
  return shortened(lines);
}

function conversions(report: QuantizationReport): readonly string[] {
  const lines = report.conversions.map(({ name, overflowed, flushed }) => {
    const tooLarge = `${formatCount(overflowed)} too large for ${report.recipe.dtype}`;
    const tooSmall = `${formatCount(flushed)} too small, now 0`;
    const parts = [...(overflowed > 0 ? [tooLarge] : []), ...(flushed > 0 ? [tooSmall] : [])];
    return `${name}: ${parts.join(", ")}`;
  });
  return shortened(lines);
}

function unusedLine(name: string): string {
  return `${name}: the model makes no use of it`;
}

function shortened(lines: readonly string[]): readonly string[] {
  if (lines.length <= listedCount) return lines;
  return [
    ...lines.slice(0, listedCount),
    `and ${lines.length - listedCount} more, see report.json`,
  ];
}

function optional(
  name: string,
  lines: readonly string[],
  field: (name: string, lines: readonly string[]) => string,
): readonly string[] {
  return lines.length === 0 ? [] : [field(name, lines)];
}
