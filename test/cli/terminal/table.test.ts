import { describe, expect, test } from "vitest";
import { type Column, formatTable } from "../../../cli/terminal/table.ts";

const columns: Column[] = [
  { header: "scheme", align: "left" },
  { header: "size", unit: "MB", align: "right" },
  { header: "perplexity", align: "right" },
];
const rows = [
  ["original", "17.9", "40.18"],
  ["int4", "7.9", "140.55"],
];
const plain = { strong: (text: string) => text, faint: (text: string) => text };

function lines(width: number): string[] {
  return formatTable(columns, rows, { ...plain, width }).split("\n");
}

describe("a table", () => {
  test("aligns numbers under their header and unit", () => {
    expect(lines(80)).toEqual([
      "scheme    size  perplexity",
      "            MB",
      "──────────────────────────",
      "original  17.9       40.18",
      "int4       7.9      140.55",
    ]);
  });

  test("fits a window of exactly its width", () => {
    expect(lines(26)[0]).toBe("scheme    size  perplexity");
  });

  test("that is too wide has its rows side by side, with units at the names", () => {
    const narrow = [["a", "1", "2"]];
    const wide = formatTable(columns, narrow, { ...plain, width: 20 }).split("\n");
    expect(wide).toEqual(["scheme      a", "─────────────", "size, MB    1", "perplexity  2"]);
  });

  test("that fits in neither way has a block of lines per row", () => {
    expect(lines(24)).toEqual([
      "original",
      "  size, MB: 17.9",
      "  perplexity: 40.18",
      "int4",
      "  size, MB: 7.9",
      "  perplexity: 140.55",
    ]);
  });

  test("is measured without its styling", () => {
    const strong = (text: string) => `\u001b[1m${text}\u001b[22m`;
    const [header] = formatTable(columns, rows, { width: 26, strong, faint: strong }).split("\n");
    expect(header).toBe(strong("scheme    size  perplexity"));
  });

  test("has no line of units where no column has one", () => {
    const bare = columns.map(({ header, align }) => ({ header, align }));
    expect(formatTable(bare, rows, { ...plain, width: 80 }).split("\n")).toHaveLength(4);
  });
});
