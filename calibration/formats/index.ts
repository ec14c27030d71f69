import { extname } from "node:path";
import { CalibrationError } from "../errors.ts";
import { arrow } from "./arrow.ts";
import type { DatasetFormat } from "./format.ts";
import { json, jsonLines } from "./json.ts";
import { parquet } from "./parquet.ts";
import { text } from "./text.ts";

export { type ContentField, contentFields, type DatasetFormat, type Row } from "./format.ts";

/** A new format is a file beside this one and an entry here. */
const formats: readonly DatasetFormat[] = [json, jsonLines, text, arrow, parquet];

const extensions: readonly string[] = formats.flatMap((format) => format.extensions);

export function isDatasetFile(path: string): boolean {
  return extensions.includes(extname(path).toLowerCase());
}

/** @throws CalibrationError CALIBRATION_FORMAT if the file's name does not tell its format */
export function formatOf(path: string): DatasetFormat {
  const extension = extname(path).toLowerCase();
  const found = formats.find((format) => format.extensions.includes(extension));
  if (found !== undefined) return found;
  throw new CalibrationError(
    "CALIBRATION_FORMAT",
    `${path}: cannot tell the format from ${JSON.stringify(extension)}; expected one of ${extensions.join(", ")}`,
  );
}
