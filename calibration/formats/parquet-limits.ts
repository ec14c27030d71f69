// What a Parquet file claims about its sizes, bounded before the library allocates by it.

import type { AsyncBuffer, FileMetaData } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { CalibrationError } from "../errors.ts";
import type { ContentField } from "./format.ts";

/** Of one column of one row group, uncompressed; a row group is held whole. */
const maxColumnBytes = 2 ** 30;
/** Each takes up to some ten bytes while it is decoded. */
const maxColumnValues = 2 ** 25;

/**
 * Looks at the page headers of the columns to read.
 *
 * @throws CalibrationError CALIBRATION_FORMAT; RangeError where bytes are missing
 */
export async function checkRowGroup(
  file: AsyncBuffer,
  metadata: FileMetaData,
  at: {
    readonly group: number;
    readonly columns: readonly ContentField[];
    readonly where: string;
  },
): Promise<void> {
  const rowGroup = metadata.row_groups[at.group];
  requireAtMost(Number(rowGroup?.num_rows), maxColumnValues, `${at.where}: number of rows`);
  for (const { meta_data: column } of rowGroup?.columns ?? []) {
    const name = column?.path_in_schema.join(".") ?? "";
    if (column === undefined || !at.columns.some((field) => field === name.split(".")[0])) continue;
    const where = `${at.where} (${name})`;
    const values = Number(column.num_values);
    const bytes = Number(column.total_uncompressed_size);
    requireAtMost(values, maxColumnValues, `${where}: number of values`);
    requireAtMost(bytes, maxColumnBytes, `${where}: size in bytes`);
    const data = Number(column.data_page_offset);
    const start = Math.min(Number(column.dictionary_page_offset ?? data) || data, data);
    const end = start + Number(column.total_compressed_size);
    checkPages(await file.slice(start, end), { values, bytes, where });
  }
}

/** @param chunk  a column's pages, one after another */
function checkPages(
  chunk: ArrayBuffer,
  total: { readonly values: number; readonly bytes: number; readonly where: string },
): void {
  const reader = { view: new DataView(chunk), offset: 0 };
  while (reader.offset < chunk.byteLength - 1) {
    const header = parquetHeader(reader);
    const { data_page_header, data_page_header_v2, dictionary_page_header } = header;
    const page = data_page_header ?? data_page_header_v2;
    const values = page?.num_values ?? dictionary_page_header?.num_values ?? 0;
    requireAtMost(values, total.values, `${total.where}: number of values in a page`);
    requireAtMost(
      data_page_header_v2?.num_rows ?? 0,
      total.values,
      `${total.where}: rows in a page`,
    );
    requireAtMost(header.uncompressed_page_size, total.bytes, `${total.where}: size of a page`);
    const left = chunk.byteLength - reader.offset;
    requireAtMost(header.compressed_page_size, left, `${total.where}: stored size of a page`);
    reader.offset += header.compressed_page_size;
  }
}

function requireAtMost(value: number, most: number, what: string): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= most) return;
  throw new CalibrationError("CALIBRATION_FORMAT", `${what} is ${value}, expected at most ${most}`);
}
