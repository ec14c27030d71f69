import { details, figureOf, section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report } from "../model.ts";
import { positionChangePlot, positionPlot } from "../plots/positions.ts";
import type { PositionBucket } from "../positions.ts";
import { intervalText, signedPercent, textNames } from "../words.ts";

/** What models make of more context. */
export async function positionsSection({ run, texts }: Report): Promise<Html | undefined> {
  if (run.texts.length === 0) return undefined;
  const names = run.models.map(({ name }) => name);
  const parts: HtmlValue[] = [];
  for (const [i, text] of textNames(run).entries()) {
    const buckets = texts[i]?.positions ?? [];
    if (buckets.length === 0) continue;
    const change = await positionChangePlot(text, names, buckets);
    parts.push(
      html`<h3>${text}</h3>\n`,
      figureOf(
        await positionPlot(text, names, buckets),
        html`Perplexity of tokens by their position in the window, two groups for each doubling.`,
      ),
      change === undefined
        ? undefined
        : figureOf(
            change,
            html`The same against ${names[0]}; the bands are of 95 % confidence, as if tokens were independent.`,
          ),
      details("The figures", positionTable(text, names, buckets)),
    );
  }
  return section({ id: "positions", title: "Perplexity by position", body: parts });
}

function positionTable(
  text: string,
  names: readonly string[],
  buckets: readonly PositionBucket[],
): Html {
  const compared = names.slice(1);
  const rows = buckets.map(({ first, last, tokens, perplexity, change }): HtmlValue[] => [
    first === last ? `${first}` : `${first}–${last}`,
    tokens,
    ...perplexity.map((value) => value.toFixed(2)),
    ...change.slice(1).map((one) => {
      return one === null ? "–" : intervalText(one.interval, (share) => signedPercent(share, 1));
    }),
  ]);
  const headers = ["tokens", ...names, ...compared.map((name) => `change of ${name}`)];
  return table({
    caption: `Perplexity by position on ${text}, and intervals of its change`,
    label: `Perplexity by position on ${text}`,
    columns: [{ header: "position", isText: true }, ...headers.map((header) => ({ header }))],
    rows,
  });
}
