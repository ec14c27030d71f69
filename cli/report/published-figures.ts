// The figures of Qwen's model cards for the models of a run that have their names.
import {
  publishedBaseAccuracies,
  publishedChatAccuracies,
  publishedToolUse,
} from "../../runtime/index.ts";
import type { EvaluationRun, RunModel } from "../run-directory/format.ts";
import type { PublishedComparison } from "./published.ts";

const source = "README of QwenLM/Qwen";

type Card = {
  /** Such as "Qwen-7B-Chat, Int4" */
  readonly name: string;
  /** In percent by the run's ids of tasks; Rouge-L of inputs as it is */
  readonly figures: Readonly<Record<string, number>>;
};

/** What model cards say of the run's models, next to what it measured. */
export function publishedFigures(run: EvaluationRun): readonly PublishedComparison[] {
  return run.models.flatMap((model, i) => {
    const card = cardOf(model);
    return Object.entries(card?.figures ?? {}).flatMap(([id, published]) => {
      const task = run.tasks.find((each) => each.task === id);
      if (task === undefined || card === undefined) return [];
      const score = task.models[i]?.score;
      const scale = id === "tool-use-input" ? 1 : 100;
      const measured = score === undefined ? null : scale * score;
      return [{ what: `${task.title}: ${card.name}`, published, measured, source }];
    });
  });
}

/** By its directory's name, as Qwen/Qwen-7B-Chat, Qwen-1_8B-Chat-Int4 or a snapshot of the cache of models. */
function cardOf({ dir, scheme }: RunModel): Card | undefined {
  const match = /qwen-(1[._]8|7|14|72)b(-chat)?(?![a-z0-9])/i.exec(dir);
  if (match === null) return undefined;
  const [, size = "", chat] = match;
  const name = `Qwen-${size.replace("_", ".")}B`;
  if (chat === undefined) return scheme === null ? baseCard(name) : undefined;
  const precision = precisionOf(scheme);
  const row = publishedChatAccuracies.find(
    (each) => each.model === `${name}-Chat` && each.precision === precision,
  );
  if (row === undefined) return undefined;
  const { mmlu, ceval, gsm8k, humaneval } = row;
  const tools = precision === "BF16" ? toolFigures(`${name}-Chat`) : {};
  return {
    name: `${name}-Chat, ${row.precision}`,
    figures: { mmlu, ceval, gsm8k, humaneval, ...tools },
  };
}

function baseCard(name: string): Card | undefined {
  const row = publishedBaseAccuracies.find(({ model }) => model === name);
  if (row === undefined) return undefined;
  const { model: _model, ...figures } = row;
  return { name: `${name}, BF16`, figures };
}

function precisionOf(scheme: string | null): string {
  if (scheme === null) return "BF16";
  const [, bits = ""] = /^int(\d)/i.exec(scheme) ?? [];
  return `Int${bits}`;
}

function toolFigures(name: string): Readonly<Record<string, number>> {
  const row = publishedToolUse.find(({ model }) => model === name);
  if (row === undefined) return {};
  return {
    "tool-use-selection": row.selection,
    "tool-use-input": row.input,
    "tool-use-false-positive": row.falsePositive,
  };
}
