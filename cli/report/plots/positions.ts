import type { PositionBucket } from "../positions.ts";
import { colorOf, drawPlot, logAxis, type Plot } from "./plot.ts";

/** Perplexity of each model by position. */
export function positionPlot(
  text: string,
  names: readonly string[],
  buckets: readonly PositionBucket[],
): Promise<Plot> {
  const values = buckets.flatMap((bucket) =>
    names.map((model, i) => ({ model, at: middleOf(bucket), perplexity: bucket.perplexity[i] })),
  );
  return drawPlot(
    `Perplexity by position in the window on ${text}, for ${names.join(", ")}`,
    (isNarrow) => ({
      ...{ height: isNarrow ? 180 : 220, data: { values } },
      layer: [
        {
          mark: { type: "line", point: { size: 20 } },
          encoding: {
            x: positionAxis(buckets),
            y: {
              ...{ field: "perplexity", type: "quantitative", title: "perplexity" },
              ...logAxis(
                buckets.flatMap(({ perplexity }) => perplexity),
                "~g",
              ),
            },
            color: colorOf("model", { names, firstColor: 0, isNarrow }),
          },
        },
      ],
    }),
  );
}

/** Change against the first model by position, with bounds; undefined where none could be made. */
export async function positionChangePlot(
  text: string,
  names: readonly string[],
  buckets: readonly PositionBucket[],
): Promise<Plot | undefined> {
  const values = buckets.flatMap((bucket) =>
    names.flatMap((model, i) => {
      const change = bucket.change[i];
      if (change === null || change === undefined) return [];
      return [{ model, at: middleOf(bucket), value: change.value, ...change.interval }];
    }),
  );
  if (values.length === 0) return undefined;
  const compared = names.slice(1);
  const label = `Change of perplexity by position in the window on ${text}, for ${compared.join(", ")}`;
  const colors = { names: compared, firstColor: 1 };
  return await drawPlot(label, (isNarrow) => ({
    ...{ height: isNarrow ? 180 : 220, data: { values } },
    layer: [
      {
        mark: { type: "area", opacity: 0.15 },
        encoding: {
          x: positionAxis(buckets),
          y: {
            ...{ field: "low", type: "quantitative", title: "change of perplexity" },
            axis: { format: "+~%", tickCount: 6 },
          },
          y2: { field: "high" },
          color: colorOf("model", { ...colors, isNarrow }),
        },
      },
      {
        mark: { type: "line", point: { size: 20 } },
        encoding: {
          x: positionAxis(buckets),
          y: { field: "value", type: "quantitative" },
          color: colorOf("model", { ...colors, isNarrow }),
        },
      },
      { mark: "rule", encoding: { y: { datum: 0 } } },
    ],
  }));
}

function positionAxis(buckets: readonly PositionBucket[]) {
  const last = buckets.at(-1)?.last ?? 1;
  const domain: number[] = [buckets[0]?.first ?? 1, last];
  const ticks = Array.from({ length: Math.floor(Math.log2(last)) + 1 }, (_, i) => 2 ** i);
  return {
    field: "at",
    type: "quantitative",
    title: "position in the window, tokens",
    scale: { type: "log", base: 2, domain, nice: false },
    axis: { values: ticks.filter((_, i) => i % 2 === 0), format: "d" },
  } as const;
}

function middleOf({ first, last }: PositionBucket): number {
  return Math.sqrt(first * last);
}
