import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { readDocuments as read } from "../../calibration/index.ts";
import { sharedPath } from "../support/shared.ts";
import { examples, temporaryFiles } from "./support.ts";

const write = temporaryFiles();
const readDocuments = async (path: string) => (await read(path)).documents;

const failure = (code: string, ...parts: string[]): unknown =>
  expect.objectContaining({
    name: "CalibrationError",
    code,
    // All parts, in this order.
    message: expect.stringMatching(
      new RegExp(parts.map((part) => part.replace(/[^\w ]/g, "\\$&")).join(".*")),
    ),
  });

const chat = [
  { from: "user", value: "1+1?" },
  { from: "assistant", value: "2" },
];
const exampleTurns = [
  { role: "user", content: "1+1?" },
  { role: "assistant", content: "2" },
];
const systemText = "You are a helpful assistant.";

describe("formats", () => {
  it("reads Qwen's fine-tuning format", async () => {
    const path = write("a.json", JSON.stringify([{ id: "x", conversations: chat }]));
    expect(await readDocuments(path)).toEqual([
      { kind: "conversation", system: systemText, turns: exampleTurns },
    ]);
  });

  it("reads the three kinds of rows from lines, whatever the line ends and blank lines", async () => {
    const rows = [{ text: "one\ntwo" }, { conversations: chat }, { messages: exampleTurns, n: 1 }];
    const lines = `\ufeff\r\n${rows.map((row) => JSON.stringify(row)).join("\r\n\r\n")}`;
    expect(await readDocuments(write("a.jsonl", lines))).toEqual([
      { kind: "text", text: "one\ntwo" },
      { kind: "conversation", system: systemText, turns: exampleTurns },
      { kind: "conversation", system: systemText, turns: exampleTurns },
    ]);
  });

  it("reads rows that straddle the chunks a file is read in, characters cut in half included", async () => {
    const texts = Array.from({ length: 7 }, (_, i) => "你".repeat(150_000 + i));
    const lines = texts.map((text) => JSON.stringify({ text })).join("\n");
    expect(await readDocuments(write("long.jsonl", lines))).toEqual(
      texts.map((text) => ({ kind: "text", text })),
    );
  });

  it("reads a text file as one document, without its byte-order mark", async () => {
    const path = write("a.TXT", "\ufeffone\r\n\r\ntwo\n");
    expect(await readDocuments(path)).toEqual([{ kind: "text", text: "one\r\n\r\ntwo\n" }]);
  });

  it("leaves out rows with an empty text", async () => {
    const path = write("blank.jsonl", '{"text": ""}\n{"text": " \\n"}\n{"text": "x"}\n');
    expect(await readDocuments(path)).toEqual([{ kind: "text", text: "x" }]);
  });

  it("takes the system text from a first system message", async () => {
    const messages = [{ role: "system", content: "Be brief." }, ...exampleTurns];
    const [document] = await readDocuments(write("s.jsonl", JSON.stringify({ messages })));
    expect(document).toEqual({ kind: "conversation", system: "Be brief.", turns: exampleTurns });
  });

  it("drops one leading message that is not the user's, and no more", async () => {
    const greeting = { from: "assistant", value: "Hello" };
    const row = { conversations: [greeting, greeting, ...chat] };
    const [document] = await readDocuments(write("lead.json", JSON.stringify([row])));
    expect(document).toMatchObject({
      turns: [{ role: "assistant", content: "Hello" }, ...exampleTurns],
    });
  });

  it("reads the bundled examples", async () => {
    const documents = await readDocuments(join(examples, "calibration.jsonl"));
    const kinds = documents.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "text").length).toBe(19);
    expect(kinds.filter((kind) => kind === "conversation").length).toBe(67);
    expect((await readDocuments(join(examples, "evaluation.txt"))).length).toBe(1);
  });
});

describe("errors", () => {
  const emptyFolder = join(dirname(write("x", "")), "empty-folder");
  mkdirSync(emptyFolder);
  const json = (name: string, value: unknown): string => write(name, JSON.stringify(value));

  it.each([
    [
      "a missing file",
      join(dirname(write("x", "")), "no.json"),
      "CALIBRATION_NOT_FOUND",
      "no.json",
    ],
    ["a folder without data", emptyFolder, "CALIBRATION_EMPTY", "empty-folder"],
    ["an unknown ending", write("a.csv", "x"), "CALIBRATION_FORMAT", '".csv"'],
    ["an empty .json", write("e.json", ""), "CALIBRATION_EMPTY", "e.json"],
    ["an empty .jsonl", write("e.jsonl", ""), "CALIBRATION_EMPTY", "e.jsonl"],
    ["an empty .txt", write("e.txt", ""), "CALIBRATION_EMPTY", "e.txt"],
    ["a blank .txt", write("b.txt", " \n\n"), "CALIBRATION_EMPTY", "b.txt"],
    ["a .jsonl of blank lines", write("b.jsonl", "\n\n"), "CALIBRATION_EMPTY", "b.jsonl"],
    ["an empty array", json("ea.json", []), "CALIBRATION_EMPTY", "ea.json"],
  ])("refuses %s", async (_, path, code, part) => {
    await expect(readDocuments(path)).rejects.toThrow(failure(code, part));
  });

  it("names the line of malformed JSON", async () => {
    const path = write("bad.json", '[\n{"text": "a"},\n{"text": }\n]');
    await expect(readDocuments(path)).rejects.toThrow(
      failure("CALIBRATION_JSON", "bad.json", "line 3"),
    );
    const lines = write("bad.jsonl", '{"text": "a"}\n\n{"text": "b"');
    await expect(readDocuments(lines)).rejects.toThrow(
      failure("CALIBRATION_JSON", "bad.jsonl: line 3"),
    );
  });

  it("names the line also where JSON.parse gives its position or only quotes the place", async () => {
    const rows = Array.from({ length: 50 }, (_, i) => `{"text": "row ${i} \\n"}`);
    for (const [bad, index] of [
      ['{"text": "a" "b"}', 20],
      ["{'text': 1}", 30],
      ['{"text": "tab\there"}', 40],
    ] as const) {
      const path = write("line.json", `[\n${rows.with(index, bad).join(",\n")}\n]`);
      await expect(readDocuments(path)).rejects.toThrow(
        failure("CALIBRATION_JSON", `line ${index + 2}:`),
      );
    }
  });

  it("tells a truncated .json file from a sound one", async () => {
    const path = write("cut.json", '[{"text": "a"},\n');
    await expect(readDocuments(path)).rejects.toThrow(failure("CALIBRATION_JSON", "cut.json"));
  });

  it.each([
    ["zero bytes", Uint8Array.of(80, 75, 3, 4, 0, 0)],
    ["bytes that are not UTF-8", Uint8Array.of(97, 0xff, 98)],
    ["half a character at the end", Uint8Array.of(97, 0xe4, 0xbd)],
  ])("refuses a file with %s", async (name, bytes) => {
    for (const extension of ["txt", "json", "jsonl"]) {
      const path = write(`${name.replaceAll(" ", "-")}.${extension}`, bytes);
      await expect(readDocuments(path)).rejects.toThrow(failure("CALIBRATION_FORMAT", path));
    }
  });

  it.each<[name: string, rows: unknown, code: string, ...parts: string[]]>([
    ["an object at the top", { conversations: chat }, "CALIBRATION_ROW", "array of rows"],
    ["a row that is a string", ["x"], "CALIBRATION_ROW", "row 0", "string"],
    ["a row that is null", [{ text: "a" }, null], "CALIBRATION_ROW", "row 1", "null"],
    ["a row that is an array", [[]], "CALIBRATION_ROW", "row 0"],
    [
      "a row without known fields",
      [{ input: "a", output: "b" }],
      "CALIBRATION_ROW",
      "row 0",
      "input",
    ],
    [
      "a row with two contents",
      [{ text: "a", messages: exampleTurns }],
      "CALIBRATION_ROW",
      "row 0",
    ],
    ["a text that is a number", [{ text: 5 }], "CALIBRATION_ROW", "row 0", "text", "number"],
    [
      "conversations that are no array",
      [{ conversations: {} }],
      "CALIBRATION_ROW",
      "conversations",
    ],
    ["a message that is a string", [{ messages: ["hi"] }], "CALIBRATION_ROW", "messages[0]"],
    [
      "a value that is null",
      [{ conversations: [chat[0], { from: "assistant", value: null }] }],
      "CALIBRATION_ROW",
      "row 0: conversations[1].value",
      "null",
    ],
    [
      "a message without a role",
      [{ messages: [{ content: "x" }] }],
      "CALIBRATION_ROW",
      "messages[0].role",
    ],
    [
      "an unknown role",
      [{ conversations: chat }, { conversations: [chat[0], { from: "gpt", value: "2" }] }],
      "CALIBRATION_ROLE",
      "row 1: conversations[1].from",
      '"gpt"',
    ],
    [
      "a system role in the conversations layout",
      [{ conversations: [{ from: "system", value: "x" }, ...chat] }],
      "CALIBRATION_ROLE",
      '"system"',
    ],
    [
      "a system message after the first",
      [{ messages: [...exampleTurns, { role: "system", content: "x" }] }],
      "CALIBRATION_ROLE",
      '"system"',
    ],
    ["a conversation without messages", [{ conversations: [] }], "CALIBRATION_EMPTY", "row 0"],
    ["a conversation of one answer", [{ conversations: [chat[1]] }], "CALIBRATION_EMPTY", "row 0"],
  ])("refuses %s", async (name, rows, code, ...parts) => {
    const path = json(`${name.replaceAll(" ", "-")}.json`, rows);
    await expect(readDocuments(path)).rejects.toThrow(failure(code, ...parts));
  });
});

const conversations = sharedPath("data", "calibration", "conversations.json");
describe.skipIf(conversations === undefined)("reference data", () => {
  it("reads every conversation of the reference file", async () => {
    const documents = await readDocuments(conversations!);
    expect(documents.length).toBe(544);
    expect(documents.every(({ kind }) => kind === "conversation")).toBe(true);
  });
});
