import { formatBytes } from "../../terminal/format.ts";
import { section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report } from "../model.ts";
import { machineOf } from "../words.ts";

/** Speed and memory; undefined if no model's was measured. */
export function speedSection({ run }: Report): Html | undefined {
  const { models } = run;
  const [original] = models;
  const rows = models.flatMap(({ name, speed, weightBytes }): HtmlValue[][] => {
    if (speed === null) return [];
    const base = original?.speed;
    return [
      [
        ...[name, speed.tokensPerSecond.toFixed(1)],
        base ? `${(speed.tokensPerSecond / base.tokensPerSecond).toFixed(2)} ×` : "–",
        ...[formatBytes(speed.peakBytes), formatBytes(weightBytes)],
      ],
    ];
  });
  if (rows.length === 0) return undefined;
  const headers = ["tokens/s", `against ${original?.name}`, "peak memory", "weight files"];
  return section({
    id: "speed",
    title: "Speed and memory",
    body: html`${table({
      caption: `Greedy decoding of one sequence, on ${machineOf(run)}`,
      label: "Speed and memory",
      columns: [{ header: "model", isText: true }, ...headers.map((header) => ({ header }))],
      rows,
    })}`,
  });
}
