// What `nibble verify` prints for people.

import type { LoaderCheck } from "../runtime/index.ts";
import { formatField } from "./terminal/field.ts";
import { plural, printable, wrapText } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import type { Verification } from "./verify.ts";

const shownViolations = 3;
const indent = "      ";

type Verdict = Verification["verdicts"][number];
type Finding = Verdict["findings"][number];

export function renderVerification(verification: Verification, output: Output): string {
  const { colors } = output;
  const { verdicts, faults } = verification;
  const verdict = faults.length === 0 ? colors.green("passes") : colors.red("does not pass");
  const shown = faults.slice(0, shownViolations).map(printable);
  const more = faults.length > shown.length ? [`and ${faults.length - shown.length} more`] : [];
  return [
    colors.bold(printable(verification.dir)),
    ...verdicts.flatMap((each) => renderVerdict(each, output)),
    ...renderParallel(verification, output),
    ...renderComparison(verification, output),
    "",
    faults.length === 0 ? verdict : `${verdict}: ${[...shown, ...more].join("; ")}`,
  ].join("\n");
}

function renderVerdict({ loader, title, outcome, findings }: Verdict, output: Output): string[] {
  const { colors } = output;
  const paint = { accepts: colors.green, warns: colors.yellow, refuses: colors.red }[outcome];
  return [
    `  ${loader.padEnd(13)} ${paint(outcome.padEnd(8))} ${colors.dim(title)}`,
    ...findings.flatMap((finding) => renderFinding(finding, output)),
  ];
}

function renderFinding({ id, kind, reason, violations }: Finding, output: Output): string[] {
  const { colors, width } = output;
  const shown = violations.slice(0, shownViolations).map(printable);
  const more = violations.length - shown.length;
  const details = more > 0 ? [...shown, `and ${more} more (--json lists all)`] : shown;
  const wrap = (text: string, margin: string): string[] =>
    wrapText(text, width - margin.length).map((line) => `${margin}${line}`);
  return [
    ...wrap(`${kind} ${id}: ${reason}`, indent),
    ...details.flatMap((line) => wrap(line, `${indent}  `)).map((line) => colors.dim(line)),
  ];
}

function renderParallel(
  { tensorParallel, verdicts }: Verification,
  { tableStyle }: Output,
): string[] {
  const isRefused = verdicts.some((each) => each.loader === "vllm" && each.outcome === "refuses");
  if (isRefused || tensorParallel.length === 0) return [];
  return [formatField("GPUs in vLLM", describeTensorParallel(tensorParallel), 13, tableStyle)];
}

/** The sizes that work, and what is in the way of the first that does not. */
export function describeTensorParallel(tensorParallel: LoaderCheck["tensorParallel"]): string {
  const works = tensorParallel.filter(({ problem }) => problem === undefined);
  const sizes = works.map(({ size }) => size).join(", ") || "none";
  const first = tensorParallel.find(({ problem }) => problem !== undefined);
  const reason = first === undefined ? "" : `; not ${first.size}: ${first.problem}`;
  return `${sizes}${reason}`;
}

function renderComparison({ comparison }: Verification, { tableStyle }: Output): string[] {
  if (comparison === undefined) return [];
  const field = (value: string) => formatField("source", value, 13, tableStyle);
  const [worst] = [...comparison].sort((a, b) => b.relativeError - a.relativeError);
  if (worst === undefined) return [field("no quantized linear to compare")];
  const error = `relative error up to ${(100 * worst.relativeError).toFixed(2)} %`;
  const where = `${worst.name}, ${worst.errorInSteps.toFixed(2)} steps of its grid`;
  return [field(`${plural(comparison.length, "linear")} compared, ${error} (${where})`)];
}
