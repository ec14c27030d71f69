// What a report shows, all of it plain data: report.json as it is written, and what pages and tables are made of.
import type { EvaluationRun } from "../run-directory/format.ts";
import { type KlHistogram, klHistogram } from "./kl-histogram.ts";
import { type PositionBucket, positionBuckets } from "./positions.ts";
import type { PublishedComparison, PublishedLookup } from "./published.ts";
import type { LinearError, QuantizationCopy } from "./quantization-copy.ts";
import type { RunFiles } from "./read-run.ts";

export type TextFigures = {
  /** Null for a single model, or if all divergences are 0 */
  readonly klHistogram: KlHistogram | null;
  readonly positions: readonly PositionBucket[];
};

/** A linear's place in the model, by its name. */
export type PlacedLinear = LinearError & {
  /** Of the block, from 0; null outside of blocks */
  readonly layer: number | null;
  /** The name within the block, such as "mlp.c_proj" */
  readonly kind: string;
};

export type QuantizationDetails = Omit<QuantizationCopy, "linears"> & {
  /** The largest relative errors first */
  readonly linears: readonly PlacedLinear[];
};

export type Report = {
  readonly format: 1;
  readonly title: string;
  readonly run: EvaluationRun;
  /** In the order of the run's models; null without a report.json */
  readonly quantizations: readonly (QuantizationDetails | null)[];
  /** In the order of the run's texts */
  readonly texts: readonly TextFigures[];
  readonly published: readonly PublishedComparison[];
};

export type ReportOptions = {
  /** By default from the names of the models */
  readonly title?: string | undefined;
  readonly published?: PublishedLookup;
};

export function buildReport(
  { run, quantizations, tokens }: RunFiles,
  { title, published = () => [] }: ReportOptions = {},
): Report {
  return {
    format: 1,
    title: title ?? defaultTitle(run),
    run,
    quantizations: quantizations.map((copy) => (copy === undefined ? null : detailsOf(copy))),
    texts: tokens.map((columns) => ({
      klHistogram:
        klHistogram(columns.divergences.filter((values) => values !== undefined)) ?? null,
      positions: positionBuckets(columns),
    })),
    published: published(run),
  };
}

function defaultTitle({ models }: EvaluationRun): string {
  const [original, ...others] = models.map(({ name }) => name);
  if (others.length === 0) return `${original}: evaluation`;
  return `${original}: ${others.join(", ")} compared`;
}

function detailsOf(copy: QuantizationCopy): QuantizationDetails {
  const linears = copy.linears.map((linear) => ({ ...linear, ...placeOf(linear.name) }));
  return {
    ...copy,
    linears: linears.sort((a, b) => (b.relativeError ?? -1) - (a.relativeError ?? -1)),
  };
}

function placeOf(name: string): Pick<PlacedLinear, "layer" | "kind"> {
  const match = /\.(\d+)\.(.+)$/s.exec(name);
  if (match === null) return { layer: null, kind: name };
  return { layer: Number(match[1]), kind: match[2] ?? "" };
}
