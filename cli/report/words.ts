// Figures as a report writes them, for the page and the model card alike.
import { basename, resolve } from "node:path";
import type { Interval } from "../../runtime/index.ts";
import type { Difference, EvaluationRun, RunModel } from "../run-directory/format.ts";
import { formatDifference } from "../terminal/format.ts";

/** What computed. */
export function machineOf({ machine: { cpu, threads, gpu } }: EvaluationRun): string {
  return gpu ?? `${cpu}, ${threads} threads`;
}

/** Of a path only what it leads to: the rest is somebody's machine. */
export function lastPart(path: string): string {
  return basename(resolve(path));
}

/** As many digits as say something, whatever the size. */
export function figure(value: number, digits = 3): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 1e-3 || size >= 1e6)
    return withMinus(value.toExponential(digits - 1).replace("e+", "e"));
  return withMinus(size >= 10 ** digits ? value.toFixed(0) : value.toPrecision(digits));
}

/** The sign of its own rather than a hyphen, where a line could break. */
function withMinus(text: string): string {
  return text.replaceAll("-", "−");
}

export function percent(share: number, digits = 2): string {
  return `${(100 * share).toFixed(digits)} %`;
}

export function signedPercent(share: number, digits = 2): string {
  return withMinus(`${formatDifference(100 * share, digits)} %`);
}

export function intervalText({ low, high }: Interval, of: (value: number) => string): string {
  return `${of(low)} to ${of(high)}`;
}

/** "noise" where chance explains a difference: it is then no finding, whatever its sign. */
export function verdict(
  difference: Difference,
  largerIsBetter: boolean,
): "noise" | "better" | "worse" {
  if (difference.isNoise) return "noise";
  return difference.value > 0 === largerIsBetter ? "better" : "worse";
}

/** A task's metric says so where it is otherwise. */
export function largerIsBetter({ metric }: EvaluationRun["tasks"][number]): boolean {
  return !/\b(lower|smaller|less) is better\b/i.test(metric);
}

export function pValueText(pValue: number | null): string {
  if (pValue === null) return "–";
  return pValue < 0.001 ? "< 0.001" : pValue.toFixed(3);
}

/** A difference and its interval as shares of what it is against. */
export function relative(
  { value, interval }: Difference,
  base: number,
): { readonly value: number; readonly interval: Interval } {
  return {
    value: value / base,
    interval: { low: interval.low / base, high: interval.high / base },
  };
}

export function schemeOf({ scheme }: RunModel): string {
  return scheme ?? "float";
}

/** How the figures of a text came about. */
export function protocolText({
  window,
  stride,
  windows,
  scoredTokens,
}: EvaluationRun["texts"][number]): string {
  const overlap = stride === window ? "no overlap" : `a stride of ${stride}`;
  return `${windows} windows of ${window} tokens, ${overlap}; ${scoredTokens} tokens scored`;
}

/** Texts by the last part of their paths. */
export function textNames({ texts }: EvaluationRun): readonly string[] {
  return counted(texts.map(({ data }) => lastPart(data)));
}

/** Names, of which those that were there before are counted: plots tell things apart by them. */
export function counted(names: readonly string[]): readonly string[] {
  return names.map((name, i) => {
    const earlier = names.slice(0, i).filter((other) => other === name).length;
    return earlier === 0 ? name : `${name} (${earlier + 1})`;
  });
}
