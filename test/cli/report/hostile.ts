// Runs whose every text is an attack on the page, or on its layout.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeRunJson } from "./run-fixture.ts";

const attack =
  `<img src="https://example.com/x.png" onerror="document.title='broken'">` +
  `<script>document.title='broken'</script>"'></td></table><style>body{display:none}</style>` +
  "<svg onload=\"document.title='broken'\"></svg>&lt;b&gt;&#60;i&#62;`|*_[a](javascript:alert(1))\u0000\u001b[31m\u202e\n# no heading";
const long = "unbreakable".repeat(40);

/** What is no text: places of files, and what has a form. */
const forms = new Set(["tokens", "quantizationReport", "startedAt"]);

/** Rewrites a run's own file and the reports that it names. */
export function makeHostile(dir: string): void {
  const run = readJson(join(dir, "run.json")) as {
    models: { quantizationReport: string | null }[];
  };
  for (const { quantizationReport: name } of run.models) {
    if (name === null) continue;
    const file = join(dir, name);
    writeFileSync(file, JSON.stringify(attacked(readJson(file), "")));
  }
  writeRunJson(dir, attacked(run, ""));
}

function attacked(value: unknown, key: string): unknown {
  if (typeof value === "string") return forms.has(key) ? value : `${value}${attack}${long}`;
  if (Array.isArray(value)) return value.map((one) => attacked(one, key));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, attacked(one, name)]),
  );
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, "utf8"));
}
