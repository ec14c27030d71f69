import { figureOf, section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report, TextFigures } from "../model.ts";
import { type IntervalRow, intervalPlot } from "../plots/intervals.ts";
import { klPlot } from "../plots/kl.ts";
import {
  figure,
  intervalText,
  percent,
  protocolText,
  pValueText,
  relative,
  signedPercent,
  textNames,
} from "../words.ts";
import { changeCell } from "./change-cell.ts";

type Text = Report["run"]["texts"][number] & { readonly name: string };

/** Perplexity on each text and, against the first model, how far the distributions are apart. */
export async function accuracySection({ run, texts }: Report): Promise<Html | undefined> {
  if (run.texts.length === 0) return undefined;
  const names = run.models.map(({ name }) => name);
  const textName = textNames(run);
  const named = run.texts.map((text, i): Text => ({ ...text, name: textName[i] ?? "" }));
  const parts: HtmlValue[] = [await changesFigure(named, names)];
  for (const [i, text] of named.entries()) {
    parts.push(html`<h3>${text.name}</h3>
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
      return [{ group: text.name, model: names[i] ?? "", ...relative(difference, base) }];
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
  const hasTest = text.models.some(({ difference }) => (difference?.pValue ?? null) !== null);
  const base = text.models[0]?.perplexity ?? 1;
  const rows = text.models.map(({ perplexity, loss, difference }, i): HtmlValue[] => [
    ...[names[i], perplexity.toFixed(4), loss.toFixed(4), changeCell(difference, base)],
    difference === null ? "–" : intervalText(relative(difference, base).interval, signedPercent),
    ...(hasTest ? [pValueText(difference?.pValue ?? null)] : []),
  ]);
  const methods = [...new Set(text.models.flatMap(({ difference }) => difference?.method ?? []))];
  const headers = ["perplexity", "loss, nats", "change", "interval of the change"];
  if (hasTest) headers.push("p");
  return table({
    caption: `Perplexity${methods.length === 0 ? "" : `; intervals: ${methods.join(", ")}`}`,
    label: `Perplexity on ${text.name}`,
    columns: [{ header: "model", isText: true }, ...headers.map((header) => ({ header }))],
    rows,
  });
}

function divergenceTable(text: Text, names: readonly string[]): HtmlValue {
  const rows = text.models.flatMap(({ divergence }, i): HtmlValue[][] => {
    if (divergence === null) return [];
    const { meanKl, interval, p99Kl, maxKl, top1 } = divergence;
    const digits = (value: number) => figure(value);
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
    label: `KL divergence on ${text.name}`,
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
  return figureOf(
    await klPlot(text.name, names.slice(1), klHistogram),
    html`KL divergence of each token of ${text.name}, four bins for each power of ten; the first holds all that is smaller.`,
  );
}
