import type { Difference } from "../../run-directory/format.ts";
import { mark } from "../elements.ts";
import { type HtmlValue, html } from "../html.ts";
import { relative, signedPercent, verdict } from "../words.ts";

/** A difference of perplexity as a share of the first model's, said to be noise where it is. */
export function changeCell(difference: Difference | null, base: number): HtmlValue {
  if (difference === null) return "–";
  return html`${signedPercent(relative(difference, base).value)} ${mark(verdict(difference, false))}`;
}
