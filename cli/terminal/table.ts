import { displayWidth } from "./format.ts";

export type Column = {
  readonly header: string;
  /** Shown under the header, so that cells can be bare, aligned numbers. */
  readonly unit?: string;
  readonly align: "left" | "right";
};

export type TableStyle = {
  /** Cells available; Infinity when not on a terminal. */
  readonly width: number;
  readonly strong: (text: string) => string;
  readonly faint: (text: string) => string;
};

const gap = "  ";

/**
 * A table in the first of three layouts that fits: a line per row; a column per row; a block of lines per row. The
 * first column names the row.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  style: TableStyle,
): string {
  const layouts = [
    () => grid(columns, rows, style),
    () => turned(columns, rows, style),
    () => stacked(columns, rows, style),
  ];
  let lines: readonly Line[] = [];
  for (const layout of layouts) {
    lines = layout();
    if (lines.every(({ width }) => width <= style.width)) break;
  }
  return lines.map(({ text }) => text).join("\n");
}

/** Styled text and the cells it takes, which its length does not tell. */
type Line = { readonly text: string; readonly width: number };

function grid(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  style: TableStyle,
): readonly Line[] {
  const widths = columns.map(({ header, unit = "" }, i) =>
    Math.max(...[header, unit, ...rows.map((row) => row[i] ?? "")].map(displayWidth)),
  );
  const line = (cells: readonly string[], paint: (text: string) => string): Line => {
    const padded = cells.map((cell, i) => pad(cell, widths[i] ?? 0, columns[i]?.align ?? "left"));
    const text = padded.join(gap).trimEnd();
    return { text: paint(text), width: displayWidth(text) };
  };
  const units = columns.map(({ unit = "" }) => unit);
  const total = widths.reduce((sum, width) => sum + width, gap.length * (widths.length - 1));
  return [
    line(
      columns.map(({ header }) => header),
      style.strong,
    ),
    ...(units.every((unit) => unit === "") ? [] : [line(units, style.faint)]),
    { text: style.faint("─".repeat(total)), width: total },
    ...rows.map((row) => line(row, (text) => text)),
  ];
}

/** Properties down, rows across. */
function turned(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  style: TableStyle,
): readonly Line[] {
  const [first, ...properties] = columns;
  const headers: Column[] = [
    { header: first?.header ?? "", align: "left" },
    ...rows.map((row): Column => ({ header: row[0] ?? "", align: "right" })),
  ];
  const body = properties.map((column, i) => [
    nameOf(column),
    ...rows.map((row) => row[i + 1] ?? ""),
  ]);
  return grid(headers, body, style);
}

function stacked(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  style: TableStyle,
): readonly Line[] {
  return rows.flatMap((row) => [
    { text: style.strong(row[0] ?? ""), width: displayWidth(row[0] ?? "") },
    ...columns.slice(1).map((column, i) => {
      const text = `${gap}${nameOf(column)}: ${row[i + 1] ?? ""}`;
      return { text, width: displayWidth(text) };
    }),
  ]);
}

function nameOf({ header, unit = "" }: Column): string {
  return unit === "" ? header : `${header}, ${unit}`;
}

function pad(text: string, width: number, align: "left" | "right"): string {
  const space = " ".repeat(Math.max(0, width - displayWidth(text)));
  return align === "left" ? `${text}${space}` : `${space}${text}`;
}
