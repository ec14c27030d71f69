// Two texts beside one another, each broken to its half of the line.
import { displayWidth } from "../terminal/format.ts";

const separator = " │ ";

/** Below this a column has room for a few words only. */
const narrowest = 28;

export type StyledText = {
  readonly text: string;
  /** Characters at the beginning that are set apart as faint */
  readonly faint: number;
};

/** Cells of a column; undefined where two do not fit, or where there is no width to fill. */
export function columnWidth(width: number): number | undefined {
  const cells = Math.floor((width - separator.length) / 2);
  return Number.isFinite(width) && cells >= narrowest ? cells : undefined;
}

/** Lines of two texts side by side. */
export function besideOneAnother(
  left: StyledText,
  right: StyledText,
  cells: number,
  faint: (text: string) => string,
): readonly string[] {
  const a = styledLines(left, cells, faint);
  const b = styledLines(right, cells, faint);
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => {
    const { painted = "", width = 0 } = a[i] ?? {};
    const padding = " ".repeat(Math.max(0, cells - width));
    return `${painted}${padding}${faint(separator)}${b[i]?.painted ?? ""}`.trimEnd();
  });
}

type PaintedLine = { readonly painted: string; readonly width: number };

function styledLines(
  { text, faint: count }: StyledText,
  cells: number,
  faint: (text: string) => string,
): readonly PaintedLine[] {
  let start = 0;
  return breakLines(text, cells).map((line) => {
    const shown = line.trimEnd();
    const split = Math.max(0, Math.min(count - start, shown.length));
    start += line.length;
    const head = shown.slice(0, split);
    return {
      painted: `${head === "" ? "" : faint(head)}${shown.slice(split)}`,
      width: displayWidth(shown),
    };
  });
}

/**
 * Breaks text into lines of at most `cells` cells, after spaces where there are any and anywhere else where not, as in Chinese.
 * The pieces, joined, are the text: spaces and line feeds stay at their ends.
 */
export function breakLines(text: string, cells: number): readonly string[] {
  const lines: string[] = [];
  for (const paragraph of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    let line = "";
    for (const word of paragraph.match(/\s+|\S+/g) ?? []) {
      const isSpace = /^\s/.test(word);
      if (isSpace || displayWidth(line + word) <= cells) {
        line += word;
        continue;
      }
      // What does not fit into a line of its own is broken where the line ends.
      if (line !== "" && displayWidth(word) <= cells) {
        lines.push(line);
        line = word;
        continue;
      }
      const pieces = breakWord(line, word, cells);
      line = pieces.pop() ?? "";
      lines.push(...pieces);
    }
    lines.push(line);
  }
  return lines;
}

/** Lines that begin with what is there already. */
function breakWord(begun: string, word: string, cells: number): string[] {
  const lines: string[] = [];
  let line = begun;
  for (const character of word) {
    if (line !== "" && displayWidth(line + character) > cells) {
      lines.push(line);
      line = "";
    }
    line += character;
  }
  return [...lines, line];
}
