// Arrow tables: the IPC file format and the stream, which is what Hugging Face `datasets` keeps in its cache.

import { type FileHandle, open } from "node:fs/promises";
import { requireFile } from "../text-file.ts";
import { checkMessages } from "./arrow-messages.ts";
import { contentColumns, type DatasetFormat, type Row, readError, tableRow } from "./format.ts";

/** One record batch in memory at a time. */
export const arrow: DatasetFormat = {
  extensions: [".arrow", ".feather"],
  async *rows(path): AsyncIterable<Row> {
    const size = requireFile(path);
    // Loaded when needed: the library costs a command that reads none of these files a sixth of a second.
    const { RecordBatchReader } = await import("apache-arrow");
    const { columnValue } = await import("./arrow-values.ts");
    let file: FileHandle | undefined;
    let index = 0;
    try {
      file = await open(path, "r");
      await checkMessages(file, size);
      const reader = await RecordBatchReader.from(file);
      await reader.open();
      const columns = contentColumns(
        reader.schema.fields.map(({ name }) => name),
        path,
      );
      for await (const batch of reader) {
        const data = columns.map((name) => ({ name, column: batch.getChild(name)?.data[0] }));
        for (let row = 0; row < batch.numRows; row++, index++) {
          const fields = data.map(({ name, column }) => {
            const where = `${path}: row ${index}, column ${name}`;
            return [name, columnValue(column, row, where)] as const;
          });
          yield { value: tableRow(fields), where: `${path}: row ${index}` };
        }
      }
    } catch (cause) {
      throw readError(`${path}: row ${index}`, cause);
    } finally {
      await file?.close();
    }
  },
};
