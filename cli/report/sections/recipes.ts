import { formatCount, formatSeconds } from "../../terminal/format.ts";
import { section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { QuantizationDetails, Report } from "../model.ts";
import { lastPart } from "../words.ts";

/** How the quantized models were made; undefined if that is not known of any. */
export function recipesSection({ run, quantizations }: Report): Html | undefined {
  const made = run.models.flatMap(({ name }, i) => {
    const details = quantizations[i] ?? null;
    return details === null ? [] : [{ name, details }];
  });
  if (made.length === 0) return undefined;
  const fields = [...new Set(made.flatMap(({ details }) => Object.keys(details.recipe)))];
  const row = (name: string, of: (details: QuantizationDetails) => HtmlValue): HtmlValue[] => [
    name,
    ...made.map(({ details }) => of(details)),
  ];
  const rows = [
    row("source", ({ source }) => lastPart(source)),
    ...fields.map((field) => row(wordsOf(field), ({ recipe }) => settingText(recipe[field]))),
    row("calibration", calibrationText),
    row("time", ({ seconds }) => formatSeconds(seconds)),
    row("made by", ({ nibble }) => `Nibble ${nibble}`),
  ];
  const columns = ["setting", ...made.map(({ name }) => name)];
  return section({
    id: "recipes",
    title: "Recipes",
    body: html`${table({
      ...{
        caption: "How the quantized models were made, from their reports",
        label: "Recipes",
        rows,
      },
      columns: columns.map((header) => ({ header, isText: true })),
    })}`,
  });
}

/** "groupSize" as "group size". */
function wordsOf(field: string): string {
  return field.replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function settingText(value: unknown): string {
  if (value === undefined || value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value) && value.length === 0) return "none";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function calibrationText({
  statistics,
  calibration: { segments, tokens },
}: QuantizationDetails): string {
  if (statistics !== undefined) return `kept statistics, ${lastPart(statistics)}`;
  return tokens === 0 ? "none" : `${formatCount(segments)} segments, ${formatCount(tokens)} tokens`;
}
