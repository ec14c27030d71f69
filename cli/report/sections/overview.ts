import { formatBytes } from "../../terminal/format.ts";
import { section, type TableColumn, table } from "../elements.ts";
import { findings } from "../findings.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report } from "../model.ts";
import { figure, lastPart, percent, schemeOf } from "../words.ts";
import { changeCell } from "./change-cell.ts";

/** Which models there are and, in a line each, what became of them. */
export function overviewSection(report: Report): Html {
  const { models, texts } = report.run;
  const [text] = texts;
  const columns: TableColumn[] = [
    { header: "model", isText: true },
    { header: "weights", isText: true },
    { header: "bits per weight" },
    { header: "size" },
    { header: "of the original" },
    ...(text === undefined
      ? []
      : [{ header: "perplexity" }, { header: "change" }, { header: "mean KL, nats" }]),
  ];
  const rows = models.map((model, i): HtmlValue[] => [
    model.name,
    schemeOf(model),
    model.bitsPerWeight?.toFixed(2) ?? "–",
    formatBytes(model.weightBytes),
    percent(model.weightBytes / Math.max(models[0]?.weightBytes ?? 1, 1), 1),
    ...(text === undefined ? [] : textCells(text.models, i)),
  ]);
  const where = text === undefined ? "" : `; figures on ${lastPart(text.data)}`;
  return section({
    id: "overview",
    title: "Overview",
    body: html`${table({
      caption: `Models, the original first${where}`,
      ...{ label: "Models", columns, rows },
    })}${findingList(report)}<p class="note">Intervals are of 95 % confidence. A difference that chance explains is marked <em>noise</em>: it is no
finding, whatever its sign. “Bits per weight” counts the quantized linears with scales and zeros, “size” all weight files.</p>
`,
  });
}

function findingList({ run }: Report): HtmlValue {
  const items = findings(run).map(
    ({ model, text }) => html`<li><strong>${model}</strong>: ${text}</li>\n`,
  );
  return items.length > 0 && html`<ul>\n${items}</ul>\n`;
}

function textCells(results: Report["run"]["texts"][number]["models"], i: number): HtmlValue[] {
  const result = results[i];
  return [
    result?.perplexity.toFixed(3),
    changeCell(result?.difference ?? null, results[0]?.perplexity ?? 1),
    result?.divergence ? figure(result.divergence.meanKl) : "–",
  ];
}
