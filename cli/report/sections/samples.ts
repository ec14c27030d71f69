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
    body: html`<p class="note">Greedy decoding. Marked is what ${models[0]?.name} does not write in the same order, token by token.</p>
${parts}`,
  });
}

/** Neighbours that differ share one mark. */
function markedPieces(base: readonly string[], pieces: readonly string[]): HtmlValue {
  const differs = differingTokens(base, pieces);
  const runs: { readonly isMarked: boolean; text: string }[] = [];
  for (const [i, piece] of pieces.entries()) {
    const isMarked = differs[i] ?? false;
    const last = runs.at(-1);
    if (last?.isMarked === isMarked) last.text += piece;
    else runs.push({ isMarked, text: piece });
  }
  return runs.map(({ isMarked, text }) => (isMarked ? html`<mark>${text}</mark>` : text));
}

function sameness(base: readonly string[], pieces: readonly string[]): Html {
  const length = Math.min(base.length, pieces.length);
  let same = 0;
  while (same < length && base[same] === pieces[same]) same += 1;
  const isSame = same === base.length && same === pieces.length;
  const text = isSame
    ? "the same, token by token"
    : `the same for ${same} of ${base.length} tokens`;
  return html`<p class="note">${text}</p>`;
}
