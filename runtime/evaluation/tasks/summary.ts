// Scores of models on a task from their answers, how sure they are, and whether they differ from the first model's.
import {
  bootstrapInterval,
  type Interval,
  isNoise,
  mcNemarExact,
  type PairedDifference,
  pairedShareInterval,
  wilsonInterval,
} from "../statistics.ts";
import type { ItemResult } from "./run-task.ts";
import { grouped } from "./selection.ts";
import type { LoadedTask, Measure } from "./task.ts";

export type MeasureResult = {
  readonly measure: Measure;
  readonly items: number;
  /** In the order of the models. */
  readonly models: readonly {
    readonly score: number;
    readonly interval: Interval;
    readonly categories: readonly {
      readonly name: string;
      readonly score: number;
      readonly items: number;
    }[];
    /** Null for the first. */
    readonly difference: PairedDifference | null;
  }[];
};

/** An item's score under one model, and how much it counts: weights add up to 1. */
type Weighed = { readonly scores: Float64Array; readonly weights: Float64Array };

/**
 * @param results  of each model, the original first, on the same items
 * @throws EvaluationError EVALUATION_TOO_SHORT if a measure that needs resampling has fewer than two items
 */
export function summarizeTask(
  { measures, categories }: Pick<LoadedTask, "measures" | "categories">,
  results: readonly (readonly ItemResult[])[],
): readonly MeasureResult[] {
  return measures.map((measure) => {
    // Strata lie together, for resampling.
    const counted = results.map((ofModel) =>
      ofModel
        .filter(({ scores }) => scores[measure.id] !== undefined)
        .toSorted((a, b) => compare(a.group, b.group) || a.index - b.index),
    );
    const [first = []] = counted;
    const strata = strataOf(first, measure);
    const weights = weightsOf(strata);
    const weighed = counted.map((ofModel) => ({ scores: scoresOf(ofModel, measure), weights }));
    return {
      measure,
      items: first.length,
      models: counted.map((ofModel, i) => {
        const own = weighed[i] as Weighed;
        return {
          score: total(own),
          interval: intervalOf(own, measure, strata),
          categories: categories.flatMap(({ name, groups }) =>
            categoryOf(
              name,
              ofModel.filter(({ group }) => groups.has(group)),
              measure,
            ),
          ),
          difference: i === 0 ? null : differenceOf(weighed[0] as Weighed, own, measure, strata),
        };
      }),
    };
  });
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Items of each group, where groups count the same; else all items together. */
function strataOf(items: readonly ItemResult[], { mean }: Measure): readonly number[] {
  if (mean === "items") return [items.length];
  return [...grouped(items, ({ group }) => group).values()].map(({ length }) => length);
}

function weightsOf(strata: readonly number[]): Float64Array {
  return Float64Array.from(
    strata.flatMap((size) => new Array<number>(size).fill(1 / (strata.length * size))),
  );
}

function scoresOf(items: readonly ItemResult[], { id }: Measure): Float64Array {
  return Float64Array.from(items, ({ scores }) => scores[id] ?? Number.NaN);
}

function total({ scores, weights }: Weighed): number {
  return scores.reduce((sum, score, i) => sum + score * (weights[i] ?? 0), 0);
}

function intervalOf(own: Weighed, measure: Measure, strata: readonly number[]): Interval {
  const { scores } = own;
  if (measure.isBinary && measure.mean === "items") {
    return wilsonInterval(
      scores.reduce((sum, score) => sum + score, 0),
      scores.length,
    );
  }
  return bootstrapInterval({ strata, unit: "items", statistic: (sample) => sampled(own, sample) });
}

function sampled({ scores, weights }: Weighed, sample: Int32Array): number {
  let sum = 0;
  for (const item of sample) sum += (scores[item] ?? 0) * (weights[item] ?? 0);
  return sum;
}

function categoryOf(name: string, items: readonly ItemResult[], measure: Measure) {
  if (items.length === 0) return [];
  const weights = weightsOf(strataOf(items, measure));
  const score = total({ scores: scoresOf(items, measure), weights });
  return [{ name, score, items: items.length }];
}

function differenceOf(
  first: Weighed,
  second: Weighed,
  measure: Measure,
  strata: readonly number[],
): PairedDifference {
  const value = total(second) - total(first);
  const byResampling = () =>
    bootstrapInterval({
      ...{ strata, unit: "items" },
      statistic: (sample) => sampled(second, sample) - sampled(first, sample),
    });
  if (!measure.isBinary) {
    const interval = byResampling();
    const method = "paired bootstrap over items";
    return { value, interval, pValue: null, method, isNoise: isNoise(interval, null) };
  }
  const only = (a: Float64Array, b: Float64Array) =>
    a.reduce((count, score, i) => count + (score > (b[i] ?? 0) ? 1 : 0), 0);
  const onlyFirst = only(first.scores, second.scores);
  const onlySecond = only(second.scores, first.scores);
  const pValue = mcNemarExact(onlyFirst, onlySecond);
  const interval =
    measure.mean === "items"
      ? pairedShareInterval(onlyFirst, onlySecond, first.scores.length)
      : byResampling();
  const method = "McNemar's exact test";
  return { value, interval, pValue, method, isNoise: isNoise(interval, pValue) };
}
