import { printable, wrapText } from "./format.ts";

export type FieldStyle = {
  /** Cells of a line; Infinity when not on a terminal. */
  readonly width: number;
  readonly faint: (text: string) => string;
};

/** Below this there is no room to wrap in; the terminal then breaks lines itself. */
const narrowest = 20;

/** "  name  value" with values of several fields one under the other; a long value is wrapped under itself. */
export function formatField(
  name: string,
  value: string,
  nameCells: number,
  { width, faint }: FieldStyle,
): string {
  const room = width - nameCells - 3;
  const text = printable(value);
  const lines = room < narrowest ? [text] : wrapText(text, room);
  return lines
    .map((line, i) => `  ${faint((i === 0 ? name : "").padEnd(nameCells))} ${line}`)
    .join("\n");
}
