import { formatSeconds } from "../../terminal/format.ts";
import { section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report } from "../model.ts";
import { machineOf } from "../words.ts";

/** Commands, versions, protocol and machine. */
export function reproduceSection({ run, quantizations }: Report): Html {
  const commands = [...quantizations.flatMap((details) => details?.command ?? []), run.command];
  const facts: HtmlValue[][] = [
    ["evaluated by", `Nibble ${run.nibble}`],
    ["started", run.startedAt],
    ["took", formatSeconds(run.seconds)],
    ["machine", machineOf(run)],
    ...run.models.map(({ name, dir }): HtmlValue[] => [`model ${name}`, html`<code>${dir}</code>`]),
    ...run.texts.map(({ data, protocol }): HtmlValue[] => [
      html`text <code>${data}</code>`,
      protocol,
    ]),
    ...run.tasks.map(({ title, data, metric }): HtmlValue[] => [
      title,
      html`<code>${data}</code>; ${metric}`,
    ]),
  ];
  return section({
    id: "reproduce",
    title: "To reproduce",
    body: html`<pre tabindex="0" aria-label="Commands"><code>${commands.join("\n")}</code></pre>
${table({
  caption: "Versions, machine and protocol",
  label: "Versions, machine and protocol",
  columns: ["", ""].map((header) => ({ header, isText: true })),
  rows: facts,
})}`,
  });
}
