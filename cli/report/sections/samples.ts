import { differingTokens } from "../differing-tokens.ts";
import { section } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report } from "../model.ts";

/** What the models write, side by side; undefined without samples. */
export function samplesSection({ run: { samples, models } }: Report): Html | undefined {
  if (samples.length === 0) return undefined;
  const parts = samples.map(({ prompt, outputs }, number) => {
    const base = outputs[0]?.pieces ?? [];
    const columns = outputs.map(({ pieces }, i) => {
      const name = models[i]?.name ?? "";
      const body = i === 0 ? pieces : markedPieces(base, pieces);
      return html`<div class="output"><h4>${name}</h4><p class="written">${body}</p>${i === 0 ? undefined : sameness(base, pieces)}</div>\n`;
    });
    return html`<article class="sample"><h3>Sample ${number + 1}</h3>
<p class="written prompt">${prompt}</p>
<div class="outputs">
${columns}</div></article>
`;
  });
  return section({
    id: "samples",
    title: "Samples",
    body: html`<p class="note">Greedy decoding. Marked is what ${models[0]?.name} does not write in the same order, token by token; the first token
that differs is framed.</p>
${parts}`,
  });
}

type Kind = "same" | "other" | "first";

/** Neighbours of a kind share one mark. */
function markedPieces(base: readonly string[], pieces: readonly string[]): HtmlValue {
  const differs = differingTokens(base, pieces);
  const first = commonLength(base, pieces);
  const runs: { readonly kind: Kind; text: string }[] = [];
  for (const [i, piece] of pieces.entries()) {
    const changed: Kind = differs[i] === true ? "other" : "same";
    const kind = i === first ? "first" : changed;
    const last = runs.at(-1);
    if (last?.kind === kind) last.text += piece;
    else runs.push({ kind, text: piece });
  }
  return runs.map(({ kind, text }) => {
    if (kind === "same") return text;
    return kind === "first" ? html`<mark class="first">${text}</mark>` : html`<mark>${text}</mark>`;
  });
}

/** Tokens before the first that differs. */
function commonLength(base: readonly string[], pieces: readonly string[]): number {
  const length = Math.min(base.length, pieces.length);
  let same = 0;
  while (same < length && base[same] === pieces[same]) same += 1;
  return same;
}

function sameness(base: readonly string[], pieces: readonly string[]): Html {
  const same = commonLength(base, pieces);
  const isSame = same === base.length && same === pieces.length;
  const text = isSame
    ? "the same, token by token"
    : `the same for ${same} of ${base.length} tokens`;
  return html`<p class="note">${text}</p>`;
}
