// What a Parquet file claims about its sizes, bounded before the library allocates by it.

import { type AsyncBuffer, type Compressors, type FileMetaData, parquetSchema } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { parquetReadAsync } from "hyparquet/src/read.js";
import { assembleAsync, asyncGroupToRows } from "hyparquet/src/rowgroup.js";
import { getSchemaPath } from "hyparquet/src/schema.js";
import { CalibrationError } from "../errors.ts";
import type { ContentField } from "./format.ts";
import { checkRuns, type PageColumn } from "./parquet-runs.ts";

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
    readonly compressors: Compressors;
    readonly where: string;
  },
): Promise<void> {
  const rowGroup = metadata.row_groups[at.group];
  requireAtMost(Number(rowGroup?.num_rows), maxColumnValues, `${at.where}: number of rows`);
  for (const { meta_data: column } of rowGroup?.columns ?? []) {
    const name = column?.path_in_schema.join(".") ?? "";
    if (column === undefined || !at.columns.some((field) => field === name.split(".")[0])) continue;
    const where = `${at.where} (${name})`;
    // Throws if the schema has no such column: the library would, with reads under way whose failures nobody awaits.
    const schemaPath = getSchemaPath(metadata.schema, column.path_in_schema);
    const values = Number(column.num_values);
    const bytes = Number(column.total_uncompressed_size);
    requireAtMost(values, maxColumnValues, `${where}: number of values`);
    requireAtMost(bytes, maxColumnBytes, `${where}: size in bytes`);
    const data = Number(column.data_page_offset);
    const start = Math.min(Number(column.dictionary_page_offset ?? data) || data, data);
    const end = start + Number(column.total_compressed_size);
    checkPages(await file.slice(start, end), {
      ...{ values, bytes, where, schemaPath, codec: column.codec, compressors: at.compressors },
    });
  }
}

/**
 * Reads rows of one row group that was checked. The library's own function leaves a rejected promise behind where two columns
 * are damaged, which would end the process.
 */
export async function readRowGroup(
  options: Parameters<typeof parquetReadAsync>[0] & { readonly metadata: FileMetaData },
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const groups = parquetReadAsync(options);
  const reads = groups.flatMap(({ asyncColumns }) => asyncColumns.map(({ data }) => data));
  for (const read of await Promise.allSettled(reads)) {
    if (read.status === "rejected") throw read.reason;
  }
  const rows: Record<string, unknown>[] = [];
  for (const group of groups) {
    const assembled = assembleAsync(group, parquetSchema(options.metadata), options.parsers);
    await Promise.allSettled(assembled.asyncColumns.map(({ data }) => data));
    const { groupRows } = group;
    for (const row of await asyncGroupToRows(assembled, 0, groupRows, undefined, "object")) {
      rows.push(row);
    }
  }
  return rows;
}

/** @param chunk  a column's pages, one after another */
function checkPages(
  chunk: ArrayBuffer,
  total: PageColumn & {
    readonly values: number;
    readonly bytes: number;
    readonly where: string;
  },
): void {
  const reader = { view: new DataView(chunk), offset: 0 };
  while (reader.offset < chunk.byteLength - 1) {
    const header = parquetHeader(reader);
    const { data_page_header_v2: second } = header;
    const page = header.data_page_header ?? second ?? header.dictionary_page_header;
    const left = chunk.byteLength - reader.offset;
    // A field that is missing is no number, and refused like one that is too large.
    const most: readonly (readonly [what: string, value: number | undefined, most: number])[] = [
      ["number of values", page?.num_values, total.values],
      ["size", header.uncompressed_page_size, total.bytes],
      ["stored size", header.compressed_page_size, left],
      ...(second === undefined
        ? []
        : ([
            ["number of rows", second.num_rows, total.values],
            ["number of nulls", second.num_nulls, total.values],
            ["size of definition levels", second.definition_levels_byte_length, left],
            ["size of repetition levels", second.repetition_levels_byte_length, left],
          ] as const)),
    ];
    for (const [what, value, limit] of most) {
      requireAtMost(value, limit, `${total.where}: ${what} of a page`);
    }
    checkRuns(header, new Uint8Array(chunk, reader.offset, header.compressed_page_size), total);
    reader.offset += header.compressed_page_size;
  }
}

function requireAtMost(value: number | undefined, most: number, what: string): void {
  if (value !== undefined && Number.isSafeInteger(value) && value >= 0 && value <= most) return;
  throw new CalibrationError("CALIBRATION_FORMAT", `${what} is ${value}, expected at most ${most}`);
}
