import { figureOf, section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { PlacedLinear, Report } from "../model.ts";
import { layersPlot } from "../plots/layers.ts";
import { figure } from "../words.ts";

const worstCount = 10;

/** Which layers hurt; undefined if no model's quantization was measured. */
export async function layersSection({ run, quantizations }: Report): Promise<Html | undefined> {
  const parts: HtmlValue[] = [];
  for (const [i, { name }] of run.models.entries()) {
    const linears = quantizations[i]?.linears ?? [];
    const plot = await layersPlot(name, linears);
    const fallbacks = linears.filter(({ fallback }) => fallback !== null);
    if (plot === undefined && fallbacks.length === 0) continue;
    parts.push(
      html`<h3>${name}</h3>\n`,
      plot &&
        figureOf(
          plot,
          html`Squared output error over squared output of each linear on the calibration tokens, by layer.`,
        ),
      plot && worstTable(name, linears),
      fallbacks.length > 0 && fallbackList(fallbacks),
    );
  }
  if (parts.length === 0) return undefined;
  return section({ id: "layers", title: "Error by layer", body: parts });
}

function worstTable(model: string, linears: readonly PlacedLinear[]): Html {
  const measured = linears.filter(({ relativeError }) => relativeError !== null);
  const rows = measured
    .slice(0, worstCount)
    .map(({ name, method, bits, groupSize, relativeError }) => [
      ...[name, `${method}, int${bits}${groupSize === -1 ? "" : ` g${groupSize}`}`],
      `${figure(100 * (relativeError ?? 0))} %`,
    ]);
  return table({
    caption: `The ${rows.length} of ${measured.length} linears with the largest relative errors`,
    label: `Largest errors of ${model}`,
    columns: [
      ...["linear", "stored as"].map((header) => ({ header, isText: true })),
      { header: "relative error" },
    ],
    rows,
  });
}

function fallbackList(linears: readonly PlacedLinear[]): Html {
  const items = linears.map(
    ({ name, fallback }) => html`<li><code>${name}</code>: ${fallback ?? ""}</li>\n`,
  );
  return html`<p>Other methods or damping than asked for:</p>\n<ul>\n${items}</ul>\n`;
}
