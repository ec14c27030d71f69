// Parquet tables, row group by row group.

import { type FileHandle, open } from "node:fs/promises";
import type { AsyncBuffer, FileMetaData } from "hyparquet";
import { requireFile } from "../text-file.ts";
import { contentColumns, type DatasetFormat, type Row, readError, tableRow } from "./format.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });
const parsers = { stringFromBytes: (bytes: Uint8Array) => bytes && utf8.decode(bytes) };

export const parquet: DatasetFormat = {
  extensions: [".parquet"],
  async *rows(path): AsyncIterable<Row> {
    const size = requireFile(path);
    // Loaded when needed, as in arrow.ts.
    const { parquetMetadataAsync } = await import("hyparquet");
    const { compressors } = await import("hyparquet-compressors");
    const { checkRowGroup, readRowGroup } = await import("./parquet-limits.ts");
    let handle: FileHandle | undefined;
    let where = path;
    try {
      handle = await open(path, "r");
      const file = bufferOf(handle, size);
      const metadata = await parquetMetadataAsync(file, { geoparquet: false });
      const columns = contentColumns(columnNames(metadata), path);
      let rowStart = 0;
      for (const [group, { num_rows }] of metadata.row_groups.entries()) {
        where = `${path}: row group ${group} (from row ${rowStart}), column ${columns.join(", ")}`;
        const rowEnd = rowStart + Number(num_rows);
        await checkRowGroup(file, metadata, { group, columns, compressors, where });
        const range = { columns: [...columns], rowStart, rowEnd };
        const rows = await readRowGroup({ ...range, file, metadata, compressors, parsers });
        for (const [i, row] of rows.entries()) {
          const fields = columns.map((name) => [name, row[name] ?? null] as const);
          yield { value: tableRow(fields), where: `${path}: row ${rowStart + i}` };
        }
        rowStart = rowEnd;
      }
    } catch (cause) {
      throw readError(where, cause);
    } finally {
      await handle?.close();
    }
  },
};

function columnNames({ row_groups, schema }: FileMetaData): string[] {
  const inGroups = row_groups.flatMap(({ columns }) =>
    columns.map(({ meta_data }) => meta_data?.path_in_schema[0] ?? ""),
  );
  const inSchema = schema.map(({ name }) => name);
  return [...new Set(row_groups.length > 0 ? inGroups : inSchema)];
}

function bufferOf(file: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      if (!(start >= 0 && end >= start && end <= byteLength)) {
        throw new RangeError(`bytes ${start} to ${end} are not in the file of ${byteLength} bytes`);
      }
      const bytes = new Uint8Array(end - start);
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
        if (bytesRead === 0) throw new RangeError(`the file ends at byte ${start + done}`);
        done += bytesRead;
      }
      return bytes.buffer;
    },
  };
}
