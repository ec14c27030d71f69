import type { PlacedLinear } from "../model.ts";
import { colorOf, drawPlot, logAxis, type Plot } from "./plot.ts";

/** Relative error of each linear by depth, a line for each kind; undefined where nothing was measured. */
export async function layersPlot(
  model: string,
  linears: readonly PlacedLinear[],
): Promise<Plot | undefined> {
  const values = linears.flatMap(({ layer, kind, relativeError }) =>
    layer === null || relativeError === null || relativeError <= 0
      ? []
      : [{ layer, kind, relativeError }],
  );
  if (values.length === 0) return undefined;
  const kinds = [...new Set(values.map(({ kind }) => kind))].sort();
  const layers = [...new Set(values.map(({ layer }) => layer))].sort((a, b) => a - b);
  const step = (isNarrow: boolean) => Math.ceil(layers.length / (isNarrow ? 8 : 20));
  const label = `Relative output error of each linear of ${model} by layer: ${kinds.join(", ")}`;
  return await drawPlot(label, (isNarrow) => ({
    ...{ height: isNarrow ? 180 : 240, data: { values } },
    layer: [
      {
        mark: { type: "line", point: { size: 30 } },
        encoding: {
          x: {
            ...{ field: "layer", type: "quantitative", title: "layer" },
            scale: { nice: false, padding: 8 },
            axis: {
              values: layers.filter((_, i) => i % step(isNarrow) === 0),
              format: "d",
              grid: false,
            },
          },
          y: {
            ...{ field: "relativeError", type: "quantitative", title: "relative output error" },
            ...logAxis(
              values.map(({ relativeError }) => relativeError),
              "~%",
            ),
          },
          color: colorOf("kind", { names: kinds, firstColor: 0, isNarrow }),
        },
      },
    ],
  }));
}
