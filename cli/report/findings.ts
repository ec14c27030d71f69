// A run's outcome in a sentence for each model, with no more than the figures say.
import type { Difference, EvaluationRun } from "../run-directory/format.ts";
import { plural } from "../terminal/format.ts";
import {
  intervalText,
  largerIsBetter,
  percent,
  relative,
  signedPercent,
  textNames,
  verdict,
} from "./words.ts";

export type Finding = { readonly model: string; readonly text: string };

/** Of every model but the first. */
export function findings(run: EvaluationRun): readonly Finding[] {
  const [original] = run.models;
  const names = textNames(run);
  return run.models.slice(1).map(({ name, weightBytes, speed }, i) => {
    const index = i + 1;
    const parts = [
      `${percent(weightBytes / Math.max(original?.weightBytes ?? 1, 1), 0)} of the size`,
      ...run.texts.flatMap(({ models }, text) => {
        const difference = models[index]?.difference ?? null;
        if (difference === null) return [];
        return [perplexityWords(difference, models[0]?.perplexity ?? 1, names[text] ?? "")];
      }),
      ...taskWords(run, index),
      ...(speed && original?.speed
        ? [`${(speed.tokensPerSecond / original.speed.tokensPerSecond).toFixed(2)} × the speed`]
        : []),
    ];
    return { model: name, text: `${parts.join("; ")}.` };
  });
}

function perplexityWords(difference: Difference, base: number, text: string): string {
  if (difference.isNoise) return `no difference of perplexity on ${text} that is more than noise`;
  const { value, interval } = relative(difference, base);
  return `perplexity ${signedPercent(value)} on ${text} (${intervalText(interval, signedPercent)})`;
}

function taskWords({ tasks }: EvaluationRun, index: number): readonly string[] {
  const verdicts = tasks.flatMap((task) => {
    const difference = task.models[index]?.difference ?? null;
    return difference === null ? [] : [verdict(difference, largerIsBetter(task))];
  });
  if (verdicts.length === 0) return [];
  const outcomes = (["worse", "better", "noise"] as const).flatMap((kind) => {
    const count = verdicts.filter((one) => one === kind).length;
    return count === 0 ? [] : [`${count} ${kind === "noise" ? "within noise" : kind}`];
  });
  return [`of ${plural(verdicts.length, "task")} ${outcomes.join(", ")}`];
}
