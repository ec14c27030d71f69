import type { CalibrationErrorCode } from "../errors.ts";
import { CalibrationError } from "../errors.ts";

/** A row as it stands in the file; nothing about its content is checked yet. */
export type Row = {
  readonly value: unknown;
  /** File and place in it, for messages. */
  readonly where: string;
};

/** One kind of dataset file. Its rows are read one after another, never more of the file than a reader asks for. */
export type DatasetFormat = {
  /** Lower case, with the dot. */
  readonly extensions: readonly string[];
  /** @throws CalibrationError naming the file and, where one is at fault, the row */
  rows(path: string): AsyncIterable<Row> | Iterable<Row>;
};

/** Columns of a table, and fields of a row, that hold what calibration reads. */
export const contentFields = ["conversations", "messages", "text", "input_ids"] as const;

export type ContentField = (typeof contentFields)[number];

/**
 * Picks the columns to read.
 *
 * @throws CalibrationError CALIBRATION_ROW if a table has none
 */
export function contentColumns(names: readonly string[], path: string): readonly ContentField[] {
  const columns = contentFields.filter((field) => names.includes(field));
  if (columns.length > 0) return columns;
  const got = names.slice(0, 8).join(", ") || "no column";
  throw new CalibrationError(
    "CALIBRATION_ROW",
    `${path}: expected a column ${contentFields.join(", ")}; got ${got}`,
  );
}

/** A row of a table: a column that is null beside others that are not is as good as absent. */
export function tableRow(
  fields: readonly (readonly [name: ContentField, value: unknown])[],
): Readonly<Record<string, unknown>> {
  const present = fields.filter(([, value]) => value !== null);
  return Object.fromEntries(present.length === 0 ? fields.slice(0, 1) : present);
}

/** What a library threw at a file's bytes, as an error of this layer; an own one stays as it is. */
export function readError(where: string, cause: unknown): CalibrationError {
  if (cause instanceof CalibrationError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const isSystem = cause instanceof Error && "syscall" in cause;
  const code: CalibrationErrorCode = isSystem ? "CALIBRATION_NOT_FOUND" : "CALIBRATION_FORMAT";
  return new CalibrationError(
    code,
    `${where}: cannot be read, the file is damaged or of another kind: ${reason.replaceAll("\n", " ")}`,
    { cause },
  );
}
