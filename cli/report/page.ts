// The report as one HTML page that runs nothing and loads nothing.
import { formatSeconds } from "../terminal/format.ts";
import { Html, html } from "./html.ts";
import type { Report } from "./model.ts";
import { accuracySection } from "./sections/accuracy.ts";
import { layersSection } from "./sections/layers.ts";
import { overviewSection } from "./sections/overview.ts";
import { positionsSection } from "./sections/positions.ts";
import { publishedSection } from "./sections/published.ts";
import { recipesSection } from "./sections/recipes.ts";
import { reproduceSection } from "./sections/reproduce.ts";
import { samplesSection } from "./sections/samples.ts";
import { speedSection } from "./sections/speed.ts";
import { tasksSection } from "./sections/tasks.ts";
import { styleSheet } from "./styles.ts";

/** In the order of the page; some have nothing to show for some runs. */
const sections: readonly ((report: Report) => Html | undefined | Promise<Html | undefined>)[] = [
  overviewSection,
  accuracySection,
  tasksSection,
  layersSection,
  positionsSection,
  speedSection,
  publishedSection,
  samplesSection,
  recipesSection,
  reproduceSection,
];

/** Even if something slipped into the page, a browser would neither run nor fetch it. */
const policy =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

export async function reportPage(report: Report): Promise<string> {
  const { run, title } = report;
  const shown: Html[] = [];
  for (const section of sections) shown.push((await section(report)) ?? new Html(""));
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Html(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Nibble ${run.nibble}">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${new Html(styleSheet)}</style>
</head>
<body>
<div class="page">
<header>
<h1>${title}</h1>
<p>Evaluated by Nibble ${run.nibble}, ${run.startedAt.slice(0, 10)}, in ${formatSeconds(run.seconds)}.</p>
<nav aria-label="Sections"><ul>${shown.map(linkTo)}</ul></nav>
</header>
<main>
${shown}</main>
</div>
</body>
</html>
`;
  return page.text;
}

function linkTo({ text }: Html): Html | undefined {
  const match = /<h2 id="([^"]*)">([^<]*)</.exec(text);
  if (match === null) return undefined;
  return html`<li><a href="#${match[1]}">${new Html(match[2] ?? "")}</a></li>`;
}
