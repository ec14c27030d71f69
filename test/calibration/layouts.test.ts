import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { readDocuments, type Segments, sampleSegments } from "../../calibration/index.ts";
import { openQwenTokenizer } from "../../runtime/index.ts";
import { examples, temporaryFiles } from "./support.ts";
import { arrowFile, type Columns, parquetFile } from "./tables.ts";

const write = temporaryFiles();
const mini = openQwenTokenizer(join(examples, "qwen-mini"));

type Row = {
  readonly text?: string;
  readonly conversations?: readonly { readonly from: string; readonly value: string }[];
};
const rows = readFileSync(join(examples, "calibration.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Row);
const chats = rows.flatMap((row) => (row.conversations === undefined ? [] : [row.conversations]));
const texts = [...rows.flatMap((row) => row.text ?? []), "你好，世界 — ☃ \n", "naïve 👩‍👩‍👧 end"];
const asMessages = chats.map((chat) =>
  chat.map(({ from, value }) => ({ role: from, content: value })),
);

const compressors = {
  GZIP: (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)),
  BROTLI: (bytes: Uint8Array) => new Uint8Array(brotliCompressSync(bytes)),
};

const cellsOf = (columns: Columns): readonly Readonly<Record<string, unknown>>[] => {
  const [[name, cells] = ["", []]] = Object.entries(columns);
  return cells.map((value) => ({ [name]: value }));
};

/** The files of one content: every format. */
function layouts(label: string, columns: Columns): readonly (readonly [string, string])[] {
  const objects = cellsOf(columns);
  const bigints: Columns = Object.fromEntries(
    Object.entries(columns).map(([name, cells]) => [
      name,
      name === "input_ids" ? cells.map((ids) => (ids as number[]).map(BigInt)) : cells,
    ]),
  );
  return [
    ["json", write(`${label}.json`, JSON.stringify(objects))],
    ["jsonl", write(`${label}.jsonl`, objects.map((row) => JSON.stringify(row)).join("\n"))],
    ["Arrow file", write(`${label}-file.arrow`, arrowFile(columns, "file"))],
    ["Arrow stream", write(`${label}-stream.arrow`, arrowFile(columns, "stream"))],
    ["Parquet", write(`${label}.parquet`, parquetFile(bigints))],
    [
      "Parquet in row groups",
      write(`${label}-groups.parquet`, parquetFile(bigints, { rowGroupSize: 7 })),
    ],
    [
      "Parquet, uncompressed",
      write(`${label}-plain.parquet`, parquetFile(bigints, { codec: "UNCOMPRESSED" })),
    ],
    [
      "Parquet by gzip",
      write(`${label}-gzip.parquet`, parquetFile(bigints, { codec: "GZIP", compressors })),
    ],
    [
      "Parquet by brotli",
      write(`${label}-brotli.parquet`, parquetFile(bigints, { codec: "BROTLI", compressors })),
    ],
  ];
}

async function segmentsOf(path: string): Promise<Segments> {
  const { documents } = await readDocuments(path);
  const segments = sampleSegments(documents, mini, {
    count: 40,
    length: 256,
    seed: 3,
    scope: "assistant",
  });
  return { ...segments, sources: [] };
}

describe("every layout gives the same segments", () => {
  const conversations = [
    ...layouts("messages", { messages: asMessages }),
    ...layouts("conversations", { conversations: chats }),
  ];
  const files = {
    conversations,
    texts: layouts("texts", { text: texts }),
    ids: layouts("ids", { input_ids: texts.map((text) => [...mini.encode(text)]) }),
  };
  for (const [content, paths] of Object.entries(files)) {
    const [[, first] = ["", ""], ...others] = paths;
    it.each(others)(`for ${content}: %s, %s`, async (_, path) => {
      const expected = await segmentsOf(first);
      expect(expected.ids.length).toBeGreaterThan(5);
      expect(await segmentsOf(path)).toEqual(expected);
    });
  }

  it("for a directory of several files, as for one with their rows in order", async () => {
    const dir = join(dirname(write("x", "")), "saved");
    mkdirSync(dir);
    for (const [i, part] of [texts.slice(0, 5), texts.slice(5, 6), texts.slice(6)].entries()) {
      writeFileSync(join(dir, `data-0000${i}-of-00003.arrow`), arrowFile({ text: part }, "stream"));
    }
    writeFileSync(join(dir, "dataset_info.json"), "{}");
    writeFileSync(join(dir, "state.json"), "{}");
    const [[, whole] = ["", ""]] = files.texts;
    expect(await segmentsOf(dir)).toEqual(await segmentsOf(whole));
  });

  it("where a table has several content columns, of which a row fills one", async () => {
    const columns = { text: ["a text", null], messages: [null, asMessages[0]] };
    const objects = [{ text: "a text" }, { messages: asMessages[0] }];
    const { documents } = await readDocuments(write("mixed.json", JSON.stringify(objects)));
    for (const path of [
      write("mixed.arrow", arrowFile(columns, "stream")),
      write("mixed.parquet", parquetFile(columns)),
    ]) {
      expect((await readDocuments(path)).documents).toEqual(documents);
    }
  });
});
