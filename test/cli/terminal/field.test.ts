import { expect, test } from "vitest";
import { formatField } from "../../../cli/terminal/field.ts";

const faint = (text: string) => `<${text}>`;

test("a value that fits stays on one line behind its name", () => {
  const line = formatField("node", "v20", 6, { width: Number.POSITIVE_INFINITY, faint });
  expect(line).toBe("  <node  > v20");
});

test("a long value is wrapped under itself, no line wider than the terminal", () => {
  const value = "one two three four five six seven eight nine ten";
  const plain = { width: 34, faint: (text: string) => text };
  const lines = formatField("count", value, 6, plain).split("\n");
  expect(lines).toEqual(["  count  one two three four five", "         six seven eight nine ten"]);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(34);
});

test("control characters of a file name do not reach the terminal", () => {
  const style = { width: 80, faint: (text: string) => text };
  expect(formatField("file", "a\u001b[2Jb", 4, style)).toBe("  file a[2Jb");
});
