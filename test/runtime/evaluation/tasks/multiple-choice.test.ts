// Prompts byte for byte, data in all layouts, and what is wrong with data.
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { ceval, cmmlu } from "../../../../runtime/evaluation/tasks/ceval.ts";
import { mmlu } from "../../../../runtime/evaluation/tasks/mmlu.ts";
import {
  cevalCategories,
  cmmluCategories,
  mmluCategories,
} from "../../../../runtime/evaluation/tasks/subjects.ts";
import { sharedPath } from "../../../support/shared.ts";
import { temporaryDirectory } from "../../../support/tiny-checkpoint.ts";
import { optionsFor, promptOf, write, writeCeval, writeCmmlu, writeMmlu } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
writeMmlu(temporary.path, "college_biology", "CD");
writeMmlu(temporary.path, "virology", "BABA");
writeCeval(temporary.path, "college_physics", "DC");
writeCeval(temporary.path, "law", "A");
writeCmmlu(temporary.path, "chinese_history", "BB");
const base = (more = {}) => optionsFor(temporary.path, { mode: "base", ...more });
const chat = (more = {}) => optionsFor(temporary.path, { mode: "chat", ...more });

describe("MMLU", () => {
  test("asks base models after examples", () => {
    const { items, measures, notes } = mmlu.load(base({ shots: 2 }));
    expect(items[1]).toMatchObject({
      ...{ id: "college_biology/1", group: "college_biology", expected: "D" },
      query: { kind: "letters", letters: [" A", " B", " C", " D"], maxTokens: 2047 },
    });
    expect(promptOf(items[1]!.query)).toBe(
      "The following are multiple choice questions (with answers) about college biology.\n\n" +
        'Question: example 0, or "0"?\nA. one\nB. two\nC. three\nD. four\nAnswer: A\n\n' +
        'Question: example 1, or "1"?\nA. one\nB. two\nC. three\nD. four\nAnswer: B\n\n' +
        'Question: question 1, or "1"?\nA. one\nB. two\nC. three\nD. four\nAnswer:',
    );
    expect(measures).toMatchObject([{ title: "MMLU, 2-shot", mean: "items" }]);
    expect(notes).toContain("2 of 57 subjects are in the data");
  });

  test("asks chat models for a choice, without examples", () => {
    const { items, measures } = mmlu.load(chat());
    expect(items[0]?.query).toEqual({
      kind: "chat",
      message:
        "The following is a multiple-choice question. Please choose the most suitable one among A, B, C and D as the " +
        'answer to this question.\n\nquestion 0, or "0"?\nA. one\nB. two\nC. three\nD. four\n',
    });
    expect(measures).toMatchObject([{ title: "MMLU, 0-shot, chat" }]);
  });

  test("a limit takes subjects in turn and says so", () => {
    const { items, notes } = mmlu.load(base({ limit: 5 }));
    expect(items.map(({ id }) => id)).toEqual([
      ...["college_biology/0", "college_biology/1", "virology/0", "virology/1", "virology/2"],
    ]);
    expect(notes).toContain("5 of 6 items (--limit)");
  });

  test("has 57 subjects in 4 classes, none twice", () => {
    expect(mmluCategories.map(({ groups }) => groups.size)).toEqual([19, 13, 13, 12]);
    expect(new Set(mmluCategories.flatMap(({ groups }) => [...groups])).size).toBe(57);
  });

  const published = sharedPath("data", "eval", "mmlu");
  test.skipIf(published === undefined)(
    "reads the published files, line breaks and quotes in fields",
    () => {
      const { items } = mmlu.load(optionsFor(sharedPath("data", "eval") ?? "", { mode: "base" }));
      const counts = new Map<string, number>();
      for (const { group } of items) counts.set(group, (counts.get(group) ?? 0) + 1);
      // As the benchmark's authors count them.
      expect(Object.fromEntries(counts)).toMatchObject({ abstract_algebra: 100 });
      for (const { query } of items) {
        expect(promptOf(query).match(/^Answer:/gm)?.length).toBe(6);
      }
    },
  );
});

describe("C-Eval", () => {
  test("asks base models in Chinese, with letters that have no space", () => {
    const { items, measures } = ceval.load(base({ shots: 1 }));
    const physics = items.find(({ id }) => id === "college_physics/1");
    expect(physics).toMatchObject({ expected: "C", query: { letters: ["A", "B", "C", "D"] } });
    expect(promptOf(physics!.query)).toBe(
      "问题：例0是____。\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案：A\n\n" +
        "问题：题1是____。\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案：",
    );
    expect(measures).toMatchObject([{ mean: "groups" }]);
  });

  test("asks chat models the bare question", () => {
    const { items } = ceval.load(chat());
    const law = items.find(({ id }) => id === "law/0");
    expect(promptOf(law!.query)).toBe("题0是____。\n\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n");
    expect(law?.grade({ text: "题0是甲", logits: [], isCut: false })).toEqual({
      ...{ prediction: "A", scores: { ceval: 1 } },
    });
  });

  test("has 52 subjects in 4 classes, 8 of them hard", () => {
    expect(cevalCategories.map(({ groups }) => groups.size)).toEqual([20, 10, 11, 11, 8]);
    expect(new Set(cevalCategories.flatMap(({ groups }) => [...groups])).size).toBe(52);
  });
});

describe("CMMLU", () => {
  test("is C-Eval's way with columns of its own, for chat models too", () => {
    const [one, other] = [cmmlu.load(base({ shots: 1 })), cmmlu.load(chat({ shots: 1 }))];
    expect(promptOf(one.items[0]!.query)).toBe(
      "问题：例0\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案：A\n\n问题：题0\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案：",
    );
    expect(other.items[0]?.query).toEqual(one.items[0]?.query);
    expect(other.notes.join()).toContain("a chat model is asked as base models are");
  });

  test("has 67 subjects in 4 classes, 15 of them specific to China", () => {
    expect(cmmluCategories.map(({ groups }) => groups.size)).toEqual([17, 13, 22, 15, 15]);
    expect(new Set(cmmluCategories.flatMap(({ groups }) => [...groups])).size).toBe(67);
  });
});

describe("data that is missing or wrong", () => {
  let dir: ReturnType<typeof temporaryDirectory>;
  beforeEach(() => {
    dir = temporaryDirectory();
  });
  afterEach(() => dir.remove());
  const refusal = (message: RegExp) =>
    expect.objectContaining({
      ...{ code: "EVALUATION_DATA", message: expect.stringMatching(message) },
    });

  test.each([
    [mmlu, /MMLU.*mmlu\/data or mmlu.*https:/],
    [ceval, /C-Eval.*ceval.*https:/],
    [cmmlu, /CMMLU.*cmmlu.*https:/],
  ])("a benchmark that is not there names its place and source", (task, message) => {
    expect(() => task.load(optionsFor(dir.path, { mode: "base" }))).toThrow(refusal(message));
  });

  test("a folder without subjects names a file", () => {
    write(dir.path, "mmlu/readme.txt", "");
    expect(() => mmlu.load(optionsFor(dir.path, { mode: "base" }))).toThrow(
      refusal(/no subject.*test\/abstract_algebra_test\.csv/),
    );
  });

  test.each([
    ["q,a,b,c,d\n", /virology_test\.csv/],
    ["q,a,b,c,d,E\n", /virology_test\.csv, row 1: the answer is "E"/],
    ['"q,a,b,c,d,A\n', /virology_test\.csv: not the CSV/],
    ["q,a,b,c,d,A,extra\n", /virology_test\.csv: not the CSV/],
  ])("a row such as %j names the file", (text, message) => {
    writeMmlu(dir.path, "virology", "A");
    write(dir.path, "mmlu/test/virology_test.csv", text);
    expect(() => mmlu.load(optionsFor(dir.path, { mode: "base" }))).toThrow(refusal(message));
  });

  test("a column that is missing is named", () => {
    writeCeval(dir.path, "law", "A");
    write(dir.path, "ceval/val/law_val.csv", "id,question,A,B,C,answer\n1,q,a,b,c,A\n");
    expect(() => ceval.load(optionsFor(dir.path, { mode: "chat" }))).toThrow(
      refusal(/law_val\.csv, row 2: column D is missing/),
    );
  });

  test("too few examples are told, unless fewer are asked for", () => {
    writeMmlu(dir.path, "virology", "A");
    write(dir.path, "mmlu/dev/virology_dev.csv", "q,a,b,c,d,A\n");
    expect(() => mmlu.load(optionsFor(dir.path, { mode: "base" }))).toThrow(
      refusal(/virology_dev\.csv: 1 rows, but 5 .*--shots/),
    );
    expect(mmlu.load(optionsFor(dir.path, { mode: "base", shots: 1 })).items.length).toBe(1);
    expect(mmlu.load(optionsFor(dir.path, { mode: "chat" })).items.length).toBe(1);
  });
});
