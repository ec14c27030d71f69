// Calibration data as documents, whatever file they come in.

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type CalibrationConversation, parseConversation } from "./conversation.ts";
import { CalibrationError } from "./errors.ts";
import { contentFields, formatOf, isDatasetFile, type Row } from "./formats/index.ts";

export type CalibrationText = { readonly kind: "text"; readonly text: string };

/** Tokenized beforehand: used as it stands. */
export type CalibrationTokens = {
  readonly kind: "tokens";
  /** [tokens] i32, not negative */
  readonly ids: Int32Array;
};

export type CalibrationDocument = CalibrationText | CalibrationConversation | CalibrationTokens;

/** How much is kept in memory and tokenized; far more than calibration makes use of. In characters, or ids. */
const defaultLimit = 2 ** 26;

export type Documents = {
  readonly documents: readonly CalibrationDocument[];
  /** Present when only the first part of the data was read; says so. */
  readonly note?: string;
};

/**
 * Reads the documents of a file, or of all dataset files of a directory in the order of their names. A row has one of
 * `conversations` [{from, value}], `messages` [{role, content}], `text` and `input_ids` [id]; other fields are ignored. Rows
 * with an empty `text` hold nothing and are left out.
 *
 * @param limit  characters and ids after which no more is read
 * @throws CalibrationError naming the file, the row (from 0) or line (from 1) and the field
 */
export async function readDocuments(
  path: string,
  limit: number = defaultLimit,
): Promise<Documents> {
  const documents: CalibrationDocument[] = [];
  let size = 0;
  for (const file of filesOf(path)) {
    for await (const row of formatOf(file).rows(file)) {
      const document = parseRow(row);
      if (document === undefined) continue;
      if (size > limit) {
        return { documents, note: `${path} is large: only what comes before ${row.where} is used` };
      }
      documents.push(document);
      size += sizeOf(document);
    }
  }
  if (documents.length > 0) return { documents };
  throw new CalibrationError("CALIBRATION_EMPTY", `${path}: no text and no conversation in it`);
}

function filesOf(path: string): readonly string[] {
  if (!(statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false)) return [path];
  const names = readdirSync(path).filter(isDatasetFile);
  // A saved dataset has its description beside its tables.
  const tables = names.filter((name) => !/^(state|dataset_info|dataset_dict)\.json$/.test(name));
  if (tables.length === 0) {
    throw new CalibrationError("CALIBRATION_EMPTY", `${path}: no dataset file in this directory`);
  }
  return tables.sort().map((name) => join(path, name));
}

function sizeOf(document: CalibrationDocument): number {
  switch (document.kind) {
    case "text":
      return document.text.length;
    case "conversation":
      return document.turns.reduce((sum, { content }) => sum + content.length, 0);
    case "tokens":
      return document.ids.length;
  }
}

/** @returns undefined for an empty text */
function parseRow({ value: row, where }: Row): CalibrationDocument | undefined {
  if (typeof row !== "object" || row === null || Array.isArray(row)) {
    throw rowError(`${where}: expected an object, got ${describe(row)}`);
  }
  const fields: Readonly<Record<string, unknown>> = { ...row };
  const present = contentFields.filter((name) => Object.hasOwn(fields, name));
  const [name] = present;
  if (name === undefined || present.length > 1) {
    const got = Object.keys(fields).slice(0, 8).join(", ") || "no field";
    throw rowError(`${where}: expected exactly one of ${contentFields.join(", ")}; got ${got}`);
  }
  const value = fields[name];
  switch (name) {
    case "conversations":
    case "messages":
      return parseConversation(value, name, where);
    case "input_ids":
      return parseIds(value, where);
    case "text":
      if (typeof value !== "string") {
        throw rowError(`${where}: text must be a string, got ${describe(value)}`);
      }
      return value.trim() === "" ? undefined : { kind: "text", text: value };
  }
}

function parseIds(value: unknown, where: string): CalibrationTokens | undefined {
  if (!(Array.isArray(value) || ArrayBuffer.isView(value))) {
    throw rowError(`${where}: input_ids must be an array, got ${describe(value)}`);
  }
  const ids = Array.from(value as ArrayLike<unknown>, (id, index) => {
    const number = typeof id === "bigint" ? Number(id) : id;
    if (typeof number === "number" && Number.isInteger(number) && number >= 0 && number < 2 ** 31) {
      return number;
    }
    throw rowError(`${where}: input_ids[${index}] must be a token id, got ${String(id)}`);
  });
  return ids.length === 0 ? undefined : { kind: "tokens", ids: Int32Array.from(ids) };
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
