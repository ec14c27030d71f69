// `nibble quantize` with calibration data or an output directory that cannot be used.

import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { nibble } from "../support.ts";
import { lfsPointer, modelFiles, writeFiles } from "./model.ts";
import { expectRefusal, smallRecipe } from "./refusal.ts";

const temporary = temporaryDirectory();
afterAll(temporary.remove);
const at = (name: string) => join(temporary.path, name);
const source = at("model");
const good = at("text.txt");
beforeAll(() => {
  writeFiles(source, modelFiles());
  writeFileSync(good, "Once upon a time there was a fox. ".repeat(20));
  symlinkSync(source, at("link"));
});

const row = (value: unknown) => `${JSON.stringify(value)}\n`;
const talk = (role: string) => ({ messages: [{ role, content: "Hello" }] });

describe("data ends with 3 and one line that names the file if it", () => {
  test.each<[string, string, string | Uint8Array, readonly string[]]>([
    ["is not there", "nowhere/text.txt", "", []],
    ["is empty", "empty.txt", "", []],
    ["is empty rows", "empty.jsonl", "\n\n", []],
    ["has documents without text", "blank.jsonl", row({ text: "" }), []],
    ["has a line that is not JSON", "broken.jsonl", `${row({ text: "a" })}{"text":\n`, ["line 2"]],
    ["has a row that is no object", "list.jsonl", row(["text"]), ["line 1"]],
    ["has a text that is none", "number.jsonl", row({ text: 7 }), ["line 1", "text"]],
    ["has an unknown role", "role.jsonl", row(talk("narrator")), ["line 1", "narrator"]],
    ["is shorter than any segment", "letter.txt", "A", []],
    ["is binary", "binary.txt", Uint8Array.of(0xff, 0xfe, 0, 1), []],
    ["is a Git LFS pointer", "pointer.jsonl", lfsPointer, []],
    ["is a broken Arrow file", "broken.arrow", "ARROW1\0\0nothing more", []],
    ["is a broken Parquet file", "broken.parquet", "PAR1nothing more", []],
  ])("%s", async (_what, file, contents, names) => {
    if (file !== "nowhere/text.txt") writeFileSync(at(file), contents);
    const output = at(`${file.replace("/", "-")}-out`);
    const args = ["quantize", source, "--data", at(file), "-o", output, ...smallRecipe];
    await expectRefusal({ args, output, status: 3, names: [file, ...names] });
  });
});

test("a text shorter than a segment is used, with a note; one to evaluate that fills no window is not", async () => {
  writeFileSync(at("short.txt"), "A short text");
  const output = at("short-out");
  const recipe = smallRecipe.filter((flag) => flag !== "-q");
  const args = ["quantize", source, "--data", at("short.txt"), "-o", output, ...recipe];
  const { status, stderr } = await nibble(args);
  expect(status).toBe(0);
  expect(stderr).toMatch(/12 tokens/);
  await expectRefusal({
    args: ["evaluate", source, "--data", at("short.txt"), "--window", "32", "-q"],
    ...{ output: at("none"), status: 3, names: ["short.txt"] },
  });
});

describe("an output ends with 2 and one line that names it if it", () => {
  test.each<[string, () => string]>([
    ["is the source", () => source],
    ["is the source by another name", () => at("link")],
    ["is inside the source", () => join(source, "int4")],
    ["is inside the source by another name", () => join(at("link"), "int4")],
    ["is a file", () => good],
    ["is below a file", () => join(good, "int4")],
    ["is where no directory can be made", () => "/proc/nibble/int4"],
    [
      "has files in it",
      () => {
        mkdirSync(at("full"), { recursive: true });
        writeFileSync(at("full/notes.txt"), "kept");
        return at("full");
      },
    ],
  ])("%s", async (what, makeOutput) => {
    const output = makeOutput();
    const overwrites = what.includes("source") ? ["--overwrite"] : [];
    const args = ["quantize", source, "--data", good, "-o", output, ...smallRecipe, ...overwrites];
    const before = readdirSync(source);
    await expectRefusal({ args, output: at("none"), status: 2, names: [output] });
    expect(readdirSync(source)).toEqual(before);
    expect(existsSync(at("full")) ? readdirSync(at("full")) : ["notes.txt"]).toEqual(["notes.txt"]);
  });
});
