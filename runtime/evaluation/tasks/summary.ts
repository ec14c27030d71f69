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

/** Items' scores under one model, those of a stratum beside each other: each stratum counts the same. */
type Scores = { readonly values: Float64Array; readonly strata: readonly number[] };

/**
 * @param results  of each model, the original first, on the same items; at least one for each measure
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
    const scored = counted.map((ofModel) => ({ values: valuesOf(ofModel, measure), strata }));
    return {
      measure,
      items: first.length,
      models: counted.map((ofModel, i) => {
        const own = scored[i] as Scores;
        return {
          score: meanOf(own),
          interval: intervalOf(own, measure),
          categories: categories.flatMap(({ name, groups }) =>
            categoryOf(
              name,
              ofModel.filter(({ group }) => groups.has(group)),
              measure,
            ),
          ),
          difference: i === 0 ? null : differenceOf(scored[0] as Scores, own, measure),
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

function valuesOf(items: readonly ItemResult[], { id }: Measure): Float64Array {
  return Float64Array.from(items, ({ scores }) => scores[id] ?? Number.NaN);
}

/** @param sample  numbers of items in the place of each; all as they are by default */
function meanOf({ values, strata }: Scores, sample?: Int32Array): number {
  let mean = 0;
  let first = 0;
  for (const size of strata) {
    let sum = 0;
    for (let i = first; i < first + size; i++) sum += values[sample?.[i] ?? i] ?? Number.NaN;
    mean += sum / size / strata.length;
    first += size;
  }
  return mean;
}

function intervalOf(own: Scores, measure: Measure): Interval {
  const { values } = own;
  if (measure.isBinary && measure.mean === "items") {
    return wilsonInterval(
      values.reduce((sum, value) => sum + value, 0),
      values.length,
    );
  }
  return resampled(own, (sample) => meanOf(own, sample), { low: 0, high: 1 });
}

/** @param widest  what is known of a single item, which cannot be resampled */
function resampled(
  { values, strata }: Scores,
  statistic: (sample: Int32Array) => number,
  widest: Interval,
): Interval {
  if (values.length < 2) return widest;
  return bootstrapInterval({ strata, unit: "items", statistic });
}

function categoryOf(name: string, items: readonly ItemResult[], measure: Measure) {
  if (items.length === 0) return [];
  const score = meanOf({ values: valuesOf(items, measure), strata: strataOf(items, measure) });
  return [{ name, score, items: items.length }];
}

function differenceOf(first: Scores, second: Scores, measure: Measure): PairedDifference {
  const value = meanOf(second) - meanOf(first);
  const byResampling = () =>
    resampled(first, (sample) => meanOf(second, sample) - meanOf(first, sample), {
      ...{ low: -1, high: 1 },
    });
  if (!measure.isBinary) {
    const interval = byResampling();
    const method = "paired bootstrap over items";
    return { value, interval, pValue: null, method, isNoise: isNoise(interval, null) };
  }
  const only = (a: Float64Array, b: Float64Array) =>
    a.reduce((count, score, i) => count + (score > (b[i] ?? 0) ? 1 : 0), 0);
  const onlyFirst = only(first.values, second.values);
  const onlySecond = only(second.values, first.values);
  const pValue = mcNemarExact(onlyFirst, onlySecond);
  const interval =
    measure.mean === "items"
      ? pairedShareInterval(onlyFirst, onlySecond, first.values.length)
      : byResampling();
  const method = "McNemar's exact test";
  return { value, interval, pValue, method, isNoise: isNoise(interval, pValue) };
}
