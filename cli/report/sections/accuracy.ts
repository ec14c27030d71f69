import { figureOf, section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report, TextFigures } from "../model.ts";
import { type IntervalRow, intervalPlot } from "../plots/intervals.ts";
import { klPlot } from "../plots/kl.ts";
import {
  intervalText,
  lastPart,
  percent,
  protocolText,
  pValueText,
  relative,
  signedPercent,
} from "../words.ts";
import { changeCell } from "./change-cell.ts";

type Text = Report["run"]["texts"][number];

/** Perplexity on each text and, against the first model, how far the distributions are apart. */
export async function accuracySection({ run, texts }: Report): Promise<Html | undefined> {
  if (run.texts.length === 0) return undefined;
  const names = run.models.map(({ name }) => name);
  const parts: HtmlValue[] = [await changesFigure(run.texts, names)];
  for (const [i, text] of run.texts.entries()) {
    parts.push(html`<h3>${lastPart(text.data)}</h3>
<p class="note">${protocolText(text)}.</p>
${perplexityTable(text, names)}${divergenceTable(text, names)}${await klFigure(text, names, texts[i])}`);
  }
  return section({ id: "accuracy", title: "Accuracy", body: parts });
}

async function changesFigure(texts: readonly Text[], names: readonly string[]): Promise<HtmlValue> {
  const compared = names.slice(1);
  const rows = texts.flatMap((text) =>
    text.models.flatMap(({ difference }, i): IntervalRow[] => {
      if (difference === null) return [];
      const base = text.models[0]?.perplexity ?? 1;
      const group = lastPart(text.data);
      return [{ group, model: names[i] ?? "", ...relative(difference, base) }];
    }),
  );
  if (rows.length === 0) return undefined;
  const plot = await intervalPlot(rows, {
    label: `Change of perplexity against ${names[0]}, with intervals of 95 % confidence, for ${compared.join(", ")}`,
    ...{ axis: "change of perplexity", format: "+~%", models: compared, firstColor: 1, origin: 0 },
  });
  return figureOf(
    plot,
    html`Change of perplexity against ${names[0]}, with intervals of 95 % confidence. An interval that holds the line at 0 is noise.`,
  );
}

function perplexityTable(text: Text, names: readonly string[]): Html {
  const base = text.models[0]?.perplexity ?? 1;
  const rows = text.models.map(({ perplexity, loss, difference }, i): HtmlValue[] => [
    ...[names[i], perplexity.toFixed(4), loss.toFixed(4), changeCell(difference, base)],
    difference === null ? "–" : intervalText(relative(difference, base).interval, signedPercent),
    difference === null ? "–" : pValueText(difference.pValue),
  ]);
  const methods = [...new Set(text.models.flatMap(({ difference }) => difference?.method ?? []))];
  return table({
    caption: `Perplexity${methods.length === 0 ? "" : `; intervals: ${methods.join(", ")}`}`,
    label: `Perplexity on ${lastPart(text.data)}`,
    columns: [
      { header: "model", isText: true },
      ...["perplexity", "loss, nats", "change", "interval of the change", "p"].map((header) => ({
        header,
      })),
    ],
    rows,
  });
}

function divergenceTable(text: Text, names: readonly string[]): HtmlValue {
  const rows = text.models.flatMap(({ divergence }, i): HtmlValue[][] => {
    if (divergence === null) return [];
    const { meanKl, interval, p99Kl, maxKl, top1 } = divergence;
    const digits = (value: number) => value.toPrecision(3);
    return [
      [
        ...[names[i], digits(meanKl), intervalText(interval, digits)],
        ...[digits(p99Kl), digits(maxKl), percent(top1)],
      ],
    ];
  });
  if (rows.length === 0) return undefined;
  const headers = [
    "mean",
    "interval of the mean",
    "99 % below",
    "largest",
    "most likely token the same",
  ];
  return table({
    caption: `KL divergence of the next token's distribution from ${names[0]}'s, nats`,
    label: `KL divergence on ${lastPart(text.data)}`,
    columns: [{ header: "model", isText: true }, ...headers.map((header) => ({ header }))],
    rows,
  });
}

async function klFigure(
  text: Text,
  names: readonly string[],
  figures: TextFigures | undefined,
): Promise<HtmlValue> {
  if (names.length === 1 || figures === undefined) return undefined;
  const { klHistogram } = figures;
  if (klHistogram === null) {
    return html`<p>KL divergence is 0 at every token: the models give the same distributions.</p>\n`;
  }
  const name = lastPart(text.data);
  return figureOf(
    await klPlot(name, names.slice(1), klHistogram),
    html`KL divergence of each token of ${name}, four bins for each power of ten; the first holds all that is smaller.`,
  );
}
