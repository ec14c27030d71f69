// Colours of plots. A drawing carries those for a light page; the page's style sheet replaces them on a dark one.

type Shade = { readonly light: string; readonly dark: string };

/** Told apart by people who see red and green alike, and of contrast 3 or more with the page. */
export const series: readonly Shade[] = [
  { light: "#1f5fbf", dark: "#8fb8f5" },
  { light: "#b3470b", dark: "#ffa36b" },
  { light: "#1a7a4c", dark: "#6fd3a0" },
  { light: "#8a3fa8", dark: "#d4a3ea" },
  { light: "#7d6200", dark: "#e0c14d" },
  { light: "#b02a5b", dark: "#ff94b8" },
  { light: "#0b6f82", dark: "#66d0e0" },
  { light: "#5c5c5c", dark: "#c0c0c0" },
];

export const ink: Shade = { light: "#1e1e1c", dark: "#e7e7e4" };
export const faintInk: Shade = { light: "#63635e", dark: "#a5a6a2" };
export const gridLine: Shade = { light: "#dcdcd6", dark: "#37393d" };

/** Of the nth model or line; they repeat where there are more. */
export function seriesColor(index: number): string {
  return series[index % series.length]?.light ?? ink.light;
}

/** Rules that turn the light colours of drawings into the dark ones. */
export function darkPlotRules(): string {
  return [...series, ink, faintInk, gridLine]
    .map(
      ({ light, dark }) =>
        `.plot [fill="${light}"]{fill:${dark}}.plot [stroke="${light}"]{stroke:${dark}}`,
    )
    .join("\n");
}
