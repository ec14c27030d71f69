import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { resemblance } from "../../../../runtime/evaluation/tasks/resemblance.ts";

type Row = { readonly first: string; readonly second: string; readonly score: number };
const file = join(import.meta.dirname, "golden", "resemblance.json");
const rows = JSON.parse(readFileSync(file, "utf8")) as readonly Row[];

test("texts are as alike as RapidFuzz finds them", () => {
  const scored = rows.map((row) => ({ ...row, score: resemblance(row.first, row.second) }));
  const wrong = rows.filter(({ score }, i) => Math.abs(score - (scored[i]?.score ?? 0)) > 1e-9);
  expect(wrong.map((row) => ({ ...row, got: resemblance(row.first, row.second) }))).toEqual([]);
});
