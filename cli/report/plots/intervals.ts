// Figures with their bounds of 95 % confidence, a line for each.
import type { Interval } from "../../../runtime/index.ts";
import { colorOf, drawPlot, type Plot } from "./plot.ts";

export type IntervalRow = {
  /** What was measured; models of one group stand together. */
  readonly group: string;
  readonly model: string;
  readonly value: number;
  readonly interval: Interval;
};

export type IntervalPlotParts = {
  readonly label: string;
  readonly axis: string;
  readonly format: string;
  /** Which models there are, in the order of their colours */
  readonly models: readonly string[];
  readonly firstColor: number;
  /** Where there is no difference; a line is drawn there. */
  readonly origin?: number;
};

const rowHeight = 18;
/** Room above the rows of a group for its name, which may be long. */
const nameHeight = 24;

export function intervalPlot(
  rows: readonly IntervalRow[],
  parts: IntervalPlotParts,
): Promise<Plot> {
  const groups = [...new Set(rows.map(({ group }) => group))];
  const values = rows.map(({ group, model, value, interval }) => ({
    group,
    model,
    value,
    ...interval,
  }));
  const step = rowHeight * parts.models.length + nameHeight;
  const colors = { names: parts.models, firstColor: parts.firstColor };
  const y = (isNarrow: boolean) =>
    ({
      field: "group",
      type: "nominal",
      title: null,
      sort: groups,
      scale: { paddingInner: nameHeight / step, paddingOuter: nameHeight / step },
      axis: {
        ticks: false,
        domain: false,
        labelAlign: "left",
        labelPadding: -2,
        labelLimit: isNarrow ? 290 : 780,
        labelOffset: -(step - nameHeight) / 2 - 9,
      },
    }) as const;
  const yOffset = { field: "model", type: "nominal", sort: [...parts.models] } as const;
  const x = {
    type: "quantitative",
    title: parts.axis,
    scale: { zero: false, nice: true },
    axis: { format: parts.format, tickCount: 5 },
  } as const;
  const rowOf = (isNarrow: boolean) => ({
    ...{ y: y(isNarrow), yOffset, color: colorOf("model", { ...colors, isNarrow }) },
  });
  const { origin } = parts;
  return drawPlot(parts.label, (isNarrow) => ({
    ...{ height: groups.length * step + nameHeight, data: { values } },
    layer: [
      ...(origin === undefined
        ? []
        : [{ mark: "rule" as const, encoding: { x: { datum: origin } } }]),
      {
        mark: { type: "rule", strokeWidth: 2 },
        encoding: { x: { field: "low", ...x }, x2: { field: "high" }, ...rowOf(isNarrow) },
      },
      {
        mark: { type: "point", filled: true, size: 60, opacity: 1 },
        encoding: { x: { field: "value", ...x }, ...rowOf(isNarrow) },
      },
    ],
  }));
}
