// JSON rows: `.json`, an array of them (Qwen's fine-tuning format), and `.jsonl`, one per line.

import { CalibrationError } from "../errors.ts";
import { readLines, readTextFile } from "../text-file.ts";
import type { DatasetFormat, Row } from "./format.ts";

export const json: DatasetFormat = {
  extensions: [".json"],
  *rows(path): Iterable<Row> {
    const rows = parseJson(readTextFile(path), path);
    if (!Array.isArray(rows)) {
      throw new CalibrationError(
        "CALIBRATION_ROW",
        `${path}: expected an array of rows, got ${rows === null ? "null" : typeof rows}; a file with one object per line is named .jsonl`,
      );
    }
    for (const [index, value] of rows.entries()) yield { value, where: `${path}: row ${index}` };
  },
};

/** Read in chunks; blank lines are skipped. */
export const jsonLines: DatasetFormat = {
  extensions: [".jsonl"],
  *rows(path): Iterable<Row> {
    let number = 0;
    for (const line of readLines(path)) {
      number += 1;
      if (line.trim() === "") continue;
      const where = `${path}: line ${number}`;
      yield { value: parseJson(line, where), where };
    }
  },
};

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const line = lineOfError(text, reason);
    throw new CalibrationError(
      "CALIBRATION_JSON",
      `${where}: not valid JSON${line > 1 ? `, line ${line}` : ""}: ${reason.replaceAll("\n", "\\n")}`,
      { cause },
    );
  }
}

/** V8 tells the position, or quotes ten characters before it, or means the end of the text. */
function lineOfError(text: string, reason: string): number {
  const position = /position (\d+)/.exec(reason)?.[1];
  const context = /\.\.\."(.*?)"(?:\.\.\.)? is not valid JSON$/s.exec(reason)?.[1];
  let at = reason.includes("end of JSON") ? text.length : Number(position ?? 0);
  if (context !== undefined && text.indexOf(context) === text.lastIndexOf(context)) {
    at = text.indexOf(context) + 10;
  }
  return text.slice(0, at).split("\n").length;
}
