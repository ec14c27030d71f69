import { Field, Float64, List, Table, tableToIPC, vectorFromArray } from "apache-arrow";
import { describe, expect, it } from "vitest";
import { readDocuments } from "../../calibration/index.ts";
import { seeded } from "../support/random.ts";
import { temporaryFiles } from "./support.ts";
import { arrowFile, parquetFile } from "./tables.ts";

const write = temporaryFiles();
const chat = [
  { role: "user", content: "one" },
  { role: "assistant", content: "two" },
];
const messages = Array.from({ length: 12 }, () => chat);
const stream = arrowFile({ messages }, "stream");
const file = arrowFile({ messages }, "file");
const parquet = parquetFile({ messages }, { rowGroupSize: 5 });

const failure = (code: string, ...parts: string[]) => ({
  name: "CalibrationError",
  code,
  message: expect.stringMatching(parts.join(".*")),
});

/** The bytes with the first occurrence of a text replaced by another of the same length. */
function replaced(bytes: Uint8Array, from: string, to: readonly number[]): Uint8Array {
  const changed = Buffer.from(bytes);
  changed.set(to, changed.indexOf(from));
  return changed;
}

describe("a table is refused, by file and place, that has", () => {
  const floats = vectorFromArray([[0.5]], new List(new Field("item", new Float64())));
  it.each<[string, string, Uint8Array, string, ...string[]]>([
    ["nothing in it", "empty.arrow", new Uint8Array(), "CALIBRATION_EMPTY", "empty.arrow"],
    [
      "no known column",
      "other.arrow",
      tableToIPC(new Table({ x: floats })),
      "CALIBRATION_ROW",
      "input_ids",
      "got x",
    ],
    [
      "ids that are no integers",
      "f.arrow",
      tableToIPC(new Table({ input_ids: floats })),
      "CALIBRATION_ROW",
      "row 0, column input_ids",
    ],
    ["no rows", "none.parquet", parquetFile({ text: [] }), "CALIBRATION_EMPTY", "none.parquet"],
    [
      "an unknown role",
      "r.arrow",
      arrowFile({ messages: [chat, [{ role: "gpt", content: "" }]] }, "stream"),
      "CALIBRATION_ROLE",
      "row 1: messages\\[0\\]",
    ],
    [
      "an unknown role",
      "r.parquet",
      parquetFile({ messages: [chat, [{ role: "gpt", content: "" }]] }),
      "CALIBRATION_ROLE",
      "row 1: messages\\[0\\]",
    ],
    [
      "a text that is null",
      "n.arrow",
      arrowFile({ text: ["a", null] }, "file"),
      "CALIBRATION_ROW",
      "row 1: text",
    ],
    [
      "text that is not UTF-8",
      "u.arrow",
      replaced(stream, "one", [0x61, 0xff, 0x61]),
      "CALIBRATION_FORMAT",
      "row 0, column messages.*UTF-8",
    ],
    [
      "no UTF-8 in Parquet",
      "u.parquet",
      replaced(
        parquetFile({ text: ["one"] }, { codec: "UNCOMPRESSED" }),
        "one",
        [0x61, 0xff, 0x61],
      ),
      "CALIBRATION_FORMAT",
      "column text",
    ],
    ["no end", "cut.arrow", file.slice(0, -20), "CALIBRATION_FORMAT", "cut.arrow"],
    ["half a batch", "half.arrow", stream.slice(0, -300), "CALIBRATION_FORMAT", "half.arrow"],
    ["no footer", "cut.parquet", parquet.slice(0, -9), "CALIBRATION_FORMAT", "cut.parquet"],
    [
      "another format's bytes",
      "json.arrow",
      Buffer.from('[{"text": "x"}]'),
      "CALIBRATION_FORMAT",
      "json.arrow",
    ],
    [
      "another format's bytes",
      "json.parquet",
      Buffer.from('[{"text": "x"}]'),
      "CALIBRATION_FORMAT",
      "json.parquet",
    ],
  ])("%s (%s)", async (_, name, bytes, code, ...parts) => {
    await expect(readDocuments(write(name, bytes))).rejects.toMatchObject(failure(code, ...parts));
  });
});

describe("a damaged table", () => {
  it("is read or refused within a second, never anything else", async () => {
    const random = seeded(7);
    const at = (below: number) => Math.floor(random() * below);
    const outcomes = new Set<string>();
    for (let round = 0; round < 300; round++) {
      const base = [file, stream, parquet][round % 3]!;
      const name = base === parquet ? "damaged.parquet" : "damaged.arrow";
      const bytes = Uint8Array.from(base);
      const view = new DataView(bytes.buffer);
      for (let change = 0; change < 3; change++) {
        if (random() < 0.5) bytes[at(bytes.length)] = at(256);
        else view.setInt32(at(bytes.length - 4), (random() - 0.5) * 2 ** 32, true);
      }
      const started = performance.now();
      const outcome = await readDocuments(write(name, bytes)).then(
        () => "read",
        (error: Error) => error.name,
      );
      outcomes.add(outcome);
      expect(performance.now() - started).toBeLessThan(1000);
    }
    expect([...outcomes].sort()).toEqual(["CalibrationError", "read"]);
  }, 60_000);
});

describe("a large file", () => {
  it("is read only as far as is of use, with a note", async () => {
    const text = Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(100));
    for (const [name, bytes] of [
      ["large.arrow", arrowFile({ text }, "stream")],
      ["large.parquet", parquetFile({ text }, { rowGroupSize: 10 })],
    ] as const) {
      const { documents, note } = await readDocuments(write(name, bytes), 950);
      expect(documents.length).toBe(10);
      expect(note).toContain("row 10");
    }
  });
});
