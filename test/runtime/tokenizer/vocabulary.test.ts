import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openQwenTokenizer } from "../../../runtime/tokenizer/index.ts";
import { parseVocabulary, readVocabulary } from "../../../runtime/tokenizer/vocabulary.ts";

const line = (bytes: number[], rank: number): string =>
  `${Buffer.from(bytes).toString("base64")} ${rank}`;

/** All single bytes in order, then "ab". */
const vocabularyLines = [
  ...Array.from({ length: 256 }, (_, byte) => line([byte], byte)),
  line([97, 98], 256),
];

const changed = (index: number, text: string): string =>
  vocabularyLines.with(index, text).join("\n");

describe("parseVocabulary", () => {
  it("reads LF and CRLF files with empty lines alike", () => {
    for (const text of [
      `${vocabularyLines.join("\n")}\n`,
      `\r\n${vocabularyLines.join("\r\n")}\r\n\r\n`,
    ]) {
      const vocabulary = parseVocabulary(text, "v");
      expect(vocabulary.size).toBe(257);
      expect(vocabulary.longest).toBe(2);
      expect([...vocabulary.bytesOf(256)]).toEqual([97, 98]);
    }
  });

  it.each([
    ["a gap in the ranks", changed(7, line([7], 8)), "file:8"],
    ["a repeated rank", changed(7, line([7], 6)), "file:8"],
    ["a rank that is no number", changed(7, "Bw== seven"), "file:8"],
    ["a rank with a sign", changed(7, "Bw== +7"), "file:8"],
    ["a missing rank", changed(7, "Bw=="), "file:8"],
    ["a token twice", changed(256, line([65], 256)), "file:257"],
    ["a token twice in another base64 spelling", changed(256, "QR== 256"), "file:257"],
    ["base64 of a wrong length", changed(7, "Bw= 7"), "file:8"],
    ["characters outside base64", changed(7, "B!== 7"), "file:8"],
    ["an empty token", changed(7, " 7"), "file:8"],
    ["a missing single byte", vocabularyLines.slice(0, 200).join("\n"), "256 single bytes"],
    ["an empty file", "", "256 single bytes"],
    ["a JSON file", '{"model": {}}', "file:1"],
  ])("refuses %s and says where", (_, text, where) => {
    expect(() => parseVocabulary(text, "file")).toThrow(
      expect.objectContaining({
        name: "TokenizerError",
        code: "TOKENIZER_VOCABULARY",
        message: expect.stringContaining(where),
      }),
    );
  });

  it("recognises a Git LFS pointer", () => {
    const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:b2b1\nsize 2561218\n";
    expect(() => parseVocabulary(pointer, "file")).toThrow(
      expect.objectContaining({ code: "TOKENIZER_LFS_POINTER" }),
    );
  });
});

it("shows a line that could reprogram a terminal escaped", () => {
  // U+009B is what ESC [ is to a terminal that reads Latin-1.
  expect(() => parseVocabulary("\u009b2J 0\n", "model/qwen.tiktoken")).toThrow(/^\P{Cc}+$/u);
});

describe("openQwenTokenizer", () => {
  const dir = mkdtempSync(join(tmpdir(), "nibble-vocabulary-"));
  afterAll(() => rmSync(dir, { recursive: true }));

  it("names the missing file", () => {
    expect(() => openQwenTokenizer(dir)).toThrow(
      expect.objectContaining({
        code: "TOKENIZER_NOT_FOUND",
        message: expect.stringContaining(join(dir, "qwen.tiktoken")),
      }),
    );
  });

  it("refuses a folder in the place of the file", () => {
    mkdirSync(join(dir, "folder"));
    expect(() => readVocabulary(join(dir, "folder"))).toThrow(
      expect.objectContaining({ code: "TOKENIZER_NOT_FOUND" }),
    );
  });

  it("merges the pair of lowest rank", () => {
    mkdirSync(join(dir, "model"));
    const lines = [...vocabularyLines, line([98, 99], 257), line([97, 98, 99], 258)];
    writeFileSync(join(dir, "model", "qwen.tiktoken"), lines.join("\n"));
    const tokenizer = openQwenTokenizer(join(dir, "model"));
    expect([...tokenizer.encode("abcab bc")]).toEqual([258, 256, 32, 257]);
    expect(tokenizer.specials.endOfText).toBe(259);
  });
});
