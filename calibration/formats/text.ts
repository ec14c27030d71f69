import { readTextFile } from "../text-file.ts";
import type { DatasetFormat, Row } from "./format.ts";

/** The whole file is one document. */
export const text: DatasetFormat = {
  extensions: [".txt"],
  *rows(path): Iterable<Row> {
    yield { value: { text: readTextFile(path) }, where: path };
  },
};
