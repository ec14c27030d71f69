import { section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report } from "../model.ts";
import { figure } from "../words.ts";

/** Beside what the model's makers published; undefined where nothing is known. */
export function publishedSection({ published }: Report): Html | undefined {
  if (published.length === 0) return undefined;
  const rows = published.map(({ what, published: theirs, measured, source }): HtmlValue[] => [
    ...[what, figure(theirs), measured === null ? "–" : figure(measured)],
    measured === null ? "–" : figure(measured - theirs),
    source,
  ]);
  return section({
    id: "published",
    title: "Beside published figures",
    body: html`${table({
      caption: "Figures of the model's makers and those of this run; protocols may differ",
      label: "Published figures",
      columns: [
        { header: "figure", isText: true },
        ...["published", "this run", "difference"].map((header) => ({ header })),
        { header: "source", isText: true },
      ],
      rows,
    })}`,
  });
}
