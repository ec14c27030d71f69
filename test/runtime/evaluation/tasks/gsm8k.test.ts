import { createHash } from "node:crypto";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { gsm8k } from "../../../../runtime/evaluation/tasks/gsm8k.ts";
import type { Reply, TaskMode } from "../../../../runtime/evaluation/tasks/task.ts";
import { sharedPath } from "../../../support/shared.ts";
import { temporaryDirectory } from "../../../support/tiny-checkpoint.ts";
import { optionsFor, promptOf, write } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());

const train = sharedPath("data", "gsm8k-train.jsonl");
const rows = [
  { question: "How many are 3 and 4?", answer: "3+4=<<3+4=7>>7\n#### 7" },
  { question: "How much is it?", answer: "a lot\n#### 1,200" },
];
const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
write(temporary.path, "gsm8k/test.jsonl", lines);

const reply = (text: string): Reply => ({ text, logits: [], isCut: false });

describe.skipIf(train === undefined)("worked examples from the training rows", () => {
  const dir = join(temporary.path, "published");
  const load = (mode: TaskMode, fewShot = false) => {
    mkdirSync(join(dir, "gsm8k"), { recursive: true });
    write(dir, "gsm8k/test.jsonl", lines);
    const link = join(dir, "gsm8k/train.jsonl");
    try {
      symlinkSync(train ?? "", link);
    } catch (error) {
      expect(error).toMatchObject({ code: "EEXIST" });
    }
    return gsm8k.load(optionsFor(dir, { mode, fewShot }));
  };

  test("are, of 8 for base models, byte for byte those of Qwen's script", () => {
    const query = load("base").items[0]?.query;
    const text = promptOf(query!);
    const end = `\nQuestion: ${rows[0]?.question}\nLet's think step by step\n`;
    expect(text.endsWith(end)).toBe(true);
    const examples = text.slice(0, -end.length);
    expect(Buffer.byteLength(examples)).toBe(4051);
    expect(createHash("sha256").update(examples).digest("hex")).toBe(
      "b067972c3ba476496af49bacfc2ade83e4bc72c47a52f7f0e70d7d9e8f573e0d",
    );
    expect(query).toMatchObject({ kind: "continue", stop: ["\n\n", "Question:"] });
  });

  test("are, of 4 for chat models, byte for byte those of Qwen's script", () => {
    const text = promptOf(load("chat", true).items[0]!.query);
    const end = `Question: ${rows[0]?.question}\nLet's think step by step`;
    expect(text.endsWith(end)).toBe(true);
    const examples = text.slice(0, -end.length);
    expect(Buffer.byteLength(examples)).toBe(4573);
    expect(createHash("sha256").update(examples).digest("hex")).toBe(
      "25974f0a5d980c8e6b432422e959cb3293b6d715a99a90d1a4c8ab1ae207c54f",
    );
  });

  test("are graded by the last run of digits, quirks of the script and all", () => {
    const [seven, thousand] = load("base").items;
    const grade = (item: typeof seven, text: string) => item?.grade(reply(text));
    expect(grade(seven, "3 + 4 = 7\nThe answer is 7")).toEqual({
      ...{ prediction: "7", scores: { gsm8k: 1 } },
    });
    expect(grade(seven, "The answer is 7.5")).toMatchObject({ prediction: "5" });
    expect(grade(seven, "The answer is -7")).toMatchObject({ scores: { gsm8k: 1 } });
    expect(grade(seven, "07")).toEqual({ prediction: "07", scores: { gsm8k: 0 } });
    expect(grade(seven, "none")).toEqual({ prediction: null, scores: { gsm8k: 0 } });
    expect(grade(thousand, "It is 1200")).toMatchObject({ scores: { gsm8k: 1 } });
    expect(grade(thousand, "It is 1,200")).toEqual({ prediction: "200", scores: { gsm8k: 0 } });
  });
});

test("training rows that are not the published ones are refused", () => {
  const dir = join(temporary.path, "other");
  write(dir, "gsm8k/test.jsonl", lines);
  write(dir, "gsm8k/train.jsonl", lines);
  expect(() => gsm8k.load(optionsFor(dir, { mode: "base" }))).toThrow(
    expect.objectContaining({
      ...{ code: "EVALUATION_DATA", message: expect.stringContaining("train.jsonl") },
    }),
  );
});

describe("a chat model", () => {
  const [seven, thousand] = gsm8k.load(optionsFor(temporary.path, { mode: "chat" })).items;

  test("is asked the bare question", () => {
    expect(seven?.query).toEqual({ kind: "chat", message: "How many are 3 and 4?" });
  });

  test.each([
    ["So there are 7.", "7.", 1],
    ["7.00001", "7.00001", 1],
    ["+7", "7", 1],
    ["it is -7", "-7", 0],
    ["7 apples and .5", ".5", 0],
    ["007", "007", 0],
    ["$7!", "7", 1],
    ["nothing", null, 0],
  ])("that says %j means %s", (text, prediction, score) => {
    expect(seven?.grade(reply(text))).toEqual({ prediction, scores: { gsm8k: score } });
  });

  test.each([
    ["1,200 dollars", "1200", 1],
    ["1200", "1200", 1],
    ["1,2000", "2000", 0],
  ])("of thousands, %j means %s", (text, prediction, score) => {
    expect(thousand?.grade(reply(text))).toEqual({ prediction, scores: { gsm8k: score } });
  });
});

test.each([
  ["{", /test\.jsonl, line 1: not JSON/],
  ['{"question": "x"}', /test\.jsonl, line 1: field answer/],
  ['{"question": "x", "answer": "y"}', /test\.jsonl, row 1: .*#### N/],
])("data such as %s is refused with its place", (text, message) => {
  const dir = temporaryDirectory();
  write(dir.path, "gsm8k/test.jsonl", text);
  try {
    expect(() => gsm8k.load(optionsFor(dir.path, { mode: "chat" }))).toThrow(message);
  } finally {
    dir.remove();
  }
});
