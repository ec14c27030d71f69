import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  pythonNumber,
  pythonPattern,
} from "../../../../runtime/evaluation/tasks/python-pattern.ts";

type Row = { readonly source: string; readonly texts: readonly [string, readonly string[]][] };
const file = join(import.meta.dirname, "golden", "patterns.json");
const rows = JSON.parse(readFileSync(file, "utf8")) as readonly Row[];

test.each(rows)("$source matches what it does in Python", ({ source, texts }) => {
  const pattern = pythonPattern(source, "g");
  for (const [text, expected] of texts) {
    expect([text, text.match(pattern) ?? []]).toEqual([text, expected]);
  }
});

test.each([
  ["12", 12],
  ["0", 0],
  ["00", 0],
  ["007", undefined],
  ["-3", -3],
  ["7.", 7],
  [".5", 0.5],
  ["0.25", 0.25],
  ["007.5", 7.5],
  ["２", undefined],
  ["", undefined],
  [".", undefined],
])("Python's eval makes of %j %s", (text, expected) => {
  expect(pythonNumber(text)).toBe(expected);
});
