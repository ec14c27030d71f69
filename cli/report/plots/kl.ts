import type { KlHistogram } from "../kl-histogram.ts";
import { colorOf, drawPlot, type Plot } from "./plot.ts";

/** @param names  of the models compared with the first */
export function klPlot(
  text: string,
  names: readonly string[],
  histogram: KlHistogram,
): Promise<Plot> {
  const { edges, shares } = histogram;
  const values = names.flatMap((model, i) => {
    const own = shares[i] ?? [];
    // The last step ends where the last bin does.
    return edges.map((kl, bin) => ({ model, kl, share: own[Math.min(bin, own.length - 1)] ?? 0 }));
  });
  const decades = edges.filter((edge) =>
    Number.isInteger(Math.round(1e6 * Math.log10(edge)) / 1e6),
  );
  const label = `Histogram of the KL divergence of each token of ${text}, on a logarithmic scale, for ${names.join(", ")}`;
  return drawPlot(label, (isNarrow) => ({
    ...{ height: isNarrow ? 180 : 240, data: { values } },
    layer: [
      {
        mark: { type: "area", interpolate: "step-after", fillOpacity: 0.12, line: true },
        encoding: {
          x: {
            ...{ field: "kl", type: "quantitative", title: "KL divergence of a token, nats" },
            scale: { type: "log", domain: [edges[0] ?? 0, edges.at(-1) ?? 1], nice: false },
            axis: {
              values: isNarrow ? decades.filter((_, i) => i % 2 === 0) : decades,
              format: "~g",
            },
          },
          y: {
            ...{ field: "share", type: "quantitative", stack: null, title: "share of tokens" },
            axis: { format: "~%", tickCount: 5 },
          },
          color: colorOf("model", { names, firstColor: 1, isNarrow }),
        },
      },
    ],
  }));
}
