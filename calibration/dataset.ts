// Calibration data as documents. Formats: `.json` (an array of rows, Qwen's fine-tuning format), `.jsonl`
// (a row per line) and `.txt` (the whole file is one document).

import { extname } from "node:path";
import { type CalibrationConversation, parseConversation } from "./conversation.ts";
import { CalibrationError } from "./errors.ts";
import { readLines, readTextFile } from "./text-file.ts";

export type CalibrationText = { readonly kind: "text"; readonly text: string };

export type CalibrationDocument = CalibrationText | CalibrationConversation;

const rowFields = ["conversations", "messages", "text"] as const;

/**
 * Reads every document of a file, in order. A row is one of
 * `{conversations: [{from, value}]}`, `{messages: [{role, content}]}`, `{text}`; other fields are ignored.
 * Blank lines and rows with an empty `text` hold nothing and are left out.
 *
 * @throws CalibrationError naming the file, the row (from 0) or line (from 1) and the field
 */
export function readDocuments(path: string): CalibrationDocument[] {
  const documents = readRows(path);
  if (documents.length === 0) {
    throw new CalibrationError("CALIBRATION_EMPTY", `${path}: no text and no conversation in it`);
  }
  return documents;
}

function readRows(path: string): CalibrationDocument[] {
  const extension = extname(path).toLowerCase();
  switch (extension) {
    case ".json":
      return readJsonArray(path);
    case ".jsonl":
      return readJsonLines(path);
    case ".txt": {
      const text = readTextFile(path);
      return text.trim() === "" ? [] : [{ kind: "text", text }];
    }
    default:
      throw new CalibrationError(
        "CALIBRATION_FORMAT",
        `${path}: cannot tell the format from ${JSON.stringify(extension)}; expected .json, .jsonl or .txt`,
      );
  }
}

function readJsonArray(path: string): CalibrationDocument[] {
  const rows = parseJson(readTextFile(path), path);
  if (!Array.isArray(rows)) {
    throw new CalibrationError(
      "CALIBRATION_ROW",
      `${path}: expected an array of rows, got ${describe(rows)}; a file with one object per line is named .jsonl`,
    );
  }
  return rows.flatMap((row: unknown, index) => parseRow(row, `${path}: row ${index}`));
}

function readJsonLines(path: string): CalibrationDocument[] {
  const documents: CalibrationDocument[] = [];
  let number = 0;
  for (const line of readLines(path)) {
    number += 1;
    if (line.trim() !== "") {
      const where = `${path}: line ${number}`;
      documents.push(...parseRow(parseJson(line, where), where));
    }
  }
  return documents;
}

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

/** @returns one document, or none for an empty text */
function parseRow(row: unknown, where: string): CalibrationDocument[] {
  if (typeof row !== "object" || row === null || Array.isArray(row)) {
    throw rowError(`${where}: expected an object, got ${describe(row)}`);
  }
  const fields: Readonly<Record<string, unknown>> = { ...row };
  const present = rowFields.filter((name) => Object.hasOwn(fields, name));
  const [name] = present;
  if (name === undefined || present.length > 1) {
    const got = Object.keys(fields).slice(0, 8).join(", ") || "no field";
    throw rowError(`${where}: expected exactly one of ${rowFields.join(", ")}; got ${got}`);
  }
  const value = fields[name];
  if (name !== "text") {
    return [parseConversation(value, name, where)];
  }
  if (typeof value !== "string") {
    throw rowError(`${where}: text must be a string, got ${describe(value)}`);
  }
  return value.trim() === "" ? [] : [{ kind: "text", text: value }];
}

function describe(value: unknown): string {
  if (value === null) {
    return "null";
  }
  return Array.isArray(value) ? "an array" : typeof value;
}

function rowError(message: string): CalibrationError {
  return new CalibrationError("CALIBRATION_ROW", message);
}
