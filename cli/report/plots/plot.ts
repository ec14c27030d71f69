// Plots as SVG, drawn by vega-lite without a browser.
import type { TopLevelSpec } from "vega-lite";
import { Html } from "../html.ts";
import { faintInk, gridLine, ink, seriesColor } from "./palette.ts";

/** Once for a desk or paper, once for a phone. */
export type Plot = {
  /** What there is to see, for those who do not see it */
  readonly label: string;
  readonly wide: Html;
  readonly narrow: Html;
};

/** A view of one plot, without size and style. */
export type PlotSpec = Omit<Extract<TopLevelSpec, { layer: unknown }>, "layer" | "config"> & {
  readonly layer: Extract<TopLevelSpec, { layer: unknown }>["layer"];
};

/** Pixels that vega takes a character for, without a canvas to measure on, and those of a legend's symbol with its gaps. */
const characterWidth = 0.8 * 12;
const symbolWidth = 36;

/** Pixels that a drawing of each kind takes in all. */
const widths = { wide: 860, narrow: 335 } as const;

/** Draws a plot; `specOf` says what is in it, also by the room there is. */
export async function drawPlot(
  label: string,
  specOf: (isNarrow: boolean) => PlotSpec,
): Promise<Plot> {
  const [wide, narrow] = await Promise.all([
    draw(specOf(false), "wide"),
    draw(specOf(true), "narrow"),
  ]);
  return { label, wide, narrow };
}

let drawn = 0;

async function draw(spec: PlotSpec, width: keyof typeof widths): Promise<Html> {
  // Loaded here, since only this command draws.
  const [{ compile }, { parse, View }] = await Promise.all([import("vega-lite"), import("vega")]);
  const isNarrow = width === "narrow";
  const whole = {
    ...{ width: widths[width], autosize: { type: "fit-x", contains: "padding" } },
    ...{ background: "transparent", padding: 4, config: configOf(isNarrow) },
    ...spec,
  } as TopLevelSpec;
  const view = new View(parse(compile(whole).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  drawn += 1;
  return new Html(ownIds(svg, `p${drawn}-`));
}

/** Drawings on one page must not share ids, by which SVG refers to clip paths. */
function ownIds(svg: string, prefix: string): string {
  return svg
    .replaceAll(/ id="([^"]*)"/g, ` id="${prefix}$1"`)
    .replaceAll(/url\(#([^)]*)\)/g, `url(#${prefix}$1)`);
}

function configOf(isNarrow: boolean): NonNullable<TopLevelSpec["config"]> {
  const font = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  const text = { labelColor: ink.light, titleColor: faintInk.light, labelFontSize: 12 };
  return {
    // The figure as a whole has a label; the table beside it has the figures.
    ...{ aria: false, font, view: { stroke: null } },
    axis: {
      ...{
        ...text,
        titleFontSize: 12,
        titleFontWeight: "normal",
        labelLimit: isNarrow ? 110 : 220,
      },
      ...{ gridColor: gridLine.light, domainColor: faintInk.light, tickColor: faintInk.light },
    },
    legend: {
      ...{ ...text, orient: "top", title: null, symbolSize: 80 },
      ...{ symbolStrokeWidth: 2, symbolOpacity: 1 },
    },
    line: { strokeWidth: 2 },
    rule: { color: faintInk.light },
  };
}

type LogAxis = {
  readonly scale: { type: "log"; domain: number[]; nice: false };
  readonly axis: { values: number[]; format: string };
};

/** A logarithmic scale around figures, and its ticks: 1, 2 and 5 of each power of ten, or powers alone if those are many. */
export function logAxis(values: readonly number[], format: string): LogAxis {
  const low = Math.min(...values) / 1.1;
  const high = Math.max(...values) * 1.1;
  const powers = Array.from(
    { length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 },
    (_, i) => 10 ** (Math.floor(Math.log10(low)) + i),
  );
  const within = (ticks: readonly number[]): number[] =>
    ticks.filter((tick) => tick >= low && tick <= high);
  const fine = within(powers.flatMap((power) => [power, 2 * power, 5 * power]));
  return {
    scale: { type: "log", domain: [low, high], nice: false },
    axis: { values: fine.length <= 8 ? fine : within(powers), format },
  };
}

export type ColorOptions = {
  readonly names: readonly string[];
  /** Of the first name: the original model's is 0 */
  readonly firstColor: number;
  readonly isNarrow: boolean;
};

export type ColorEncoding = {
  field: string;
  type: "nominal";
  scale: { domain: string[]; range: string[] };
  legend: { columns: number; labelLimit: number };
};

/** Each name's own colour, with a legend of as many columns as there is room for. */
export function colorOf(
  field: string,
  { names, firstColor, isNarrow }: ColorOptions,
): ColorEncoding {
  const room = widths[isNarrow ? "narrow" : "wide"] - 20;
  const longest = Math.max(...names.map((name) => name.length));
  const columns = Math.max(1, Math.floor(room / (longest * characterWidth + symbolWidth)));
  const range = names.map((_, i) => seriesColor(firstColor + i));
  const legend = { columns, labelLimit: room - symbolWidth };
  return { field, type: "nominal", scale: { domain: [...names], range }, legend };
}
