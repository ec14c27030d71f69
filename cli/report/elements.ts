// Parts that every section of the page is made of.
import { type Html, type HtmlValue, html } from "./html.ts";
import type { Plot } from "./plots/plot.ts";

export type TableColumn = {
  readonly header: string;
  /** Words are set left, figures right. */
  readonly isText?: boolean;
};

export type TableParts = {
  readonly caption: HtmlValue;
  /** For those who do not see it */
  readonly label: string;
  readonly columns: readonly TableColumn[];
  /** The first cell names the row. */
  readonly rows: readonly (readonly HtmlValue[])[];
};

/** A table that scrolls by itself where it is wider than the page. */
export function table({ caption, label, columns, rows }: TableParts): Html {
  const kind = (i: number) => (columns[i]?.isText === true ? html` class="words"` : undefined);
  const cells = columns.map(({ header }, i) => html`<th scope="col"${kind(i)}>${header}</th>`);
  const isHeaded = columns.some(({ header }) => header !== "");
  const head = isHeaded ? html`<thead><tr>${cells}</tr></thead>\n` : undefined;
  const body = rows.map(([name, ...figures]) => {
    const others = figures.map((cell, i) => html`<td${kind(i + 1)}>${cell}</td>`);
    return html`<tr><th scope="row">${name}</th>${others}</tr>\n`;
  });
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${label}"><table>
<caption><span>${caption}</span></caption>
${head}<tbody>
${body}</tbody>
</table></div>
`;
}

/** A plot in two widths, of which style sheets show one: what is drawn for a desk is too small to read on a phone. */
export function figureOf(plot: Plot, caption: HtmlValue): Html {
  return html`<figure>
<div class="plot wide" role="img" aria-label="${plot.label}">${plot.wide}</div>
<div class="plot narrow" role="img" aria-label="${plot.label}">${plot.narrow}</div>
<figcaption>${caption}</figcaption>
</figure>
`;
}

export type SectionParts = {
  readonly id: string;
  readonly title: string;
  readonly body: HtmlValue;
};

export function section({ id, title, body }: SectionParts): Html {
  return html`<section aria-labelledby="${id}">
<h2 id="${id}">${title}</h2>
${body}</section>
`;
}

export function details(summary: HtmlValue, body: HtmlValue): Html {
  return html`<details><summary>${summary}</summary>
${body}</details>
`;
}

export function mark(kind: "noise" | "better" | "worse"): Html {
  return html`<span class="verdict ${kind}">${kind}</span>`;
}
