// A scripted model with known answers gets the score it should through every task.
import { afterAll, describe, expect, test } from "vitest";
import type { LoadedTask, Query } from "../../../../runtime/evaluation/tasks/task.ts";
import {
  type ItemResult,
  runTask,
  summarizeTask,
  type TaskMode,
  tasks,
} from "../../../../runtime/index.ts";
import { temporaryDirectory } from "../../../support/tiny-checkpoint.ts";
import {
  optionsFor,
  promptOf,
  Scripted,
  write,
  writeCeval,
  writeCmmlu,
  writeMmlu,
} from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
// Right answers by subject; the model below says C to everything.
writeMmlu(temporary.path, "anatomy", "CCCA");
writeMmlu(temporary.path, "philosophy", "CB");
writeCeval(temporary.path, "law", "CCCC");
writeCeval(temporary.path, "physician", "CA");
writeCmmlu(temporary.path, "chinese_history", "CA");
writeCmmlu(temporary.path, "agronomy", "C");
const rows = (questions: readonly object[]) =>
  questions.map((row) => `${JSON.stringify(row)}\n`).join("");
write(
  temporary.path,
  "gsm8k/test.jsonl",
  rows([3, 3, 4].map((n) => ({ question: `${n}?`, answer: `so\n#### ${n}` }))),
);
write(
  temporary.path,
  "HumanEval.jsonl",
  rows(
    [3, 4].map((n) => ({
      ...{ task_id: `T/${n}`, entry_point: "f", prompt: 'def f():\n    """ N """\n' },
      test: `def check(f):\n    assert f() == ${n}\n`,
    })),
  ),
);
const plugin = "exam_plugin_v20231206_react";
const asked = (response: string) => rows([{ prompt: "p", response }]);
write(
  temporary.path,
  `${plugin}_positive.jsonl`,
  asked("Thought: t\nAction: three\nAction Input: {}"),
);
write(temporary.path, `${plugin}_negative.jsonl`, asked("no"));

function loaded(name: string, mode: TaskMode): LoadedTask {
  // What it is given for a program tells whether it has a 3 where it is wanted.
  const runProgram = (program: string) =>
    Promise.resolve(program.includes("return 3")).then(
      (isThree) => isThree && program.includes("== 3"),
    );
  const task = tasks.find((each) => each.name === name);
  return task!.load(optionsFor(temporary.path, { mode, runProgram }));
}

/** Says C, 3, "return 3" or calls the tool "three", whatever it is asked. */
function constant(query: Query): string {
  const prompt = promptOf(query);
  if (query.kind === "letters") return query.letters[2] ?? "";
  if (prompt.includes("def f()"))
    return query.kind === "chat" ? "def f():\n    return 3" : "    return 3";
  if (prompt === "p") return "Hm.\nAction: three\nAction Input: {}";
  return prompt.endsWith("?") && !prompt.includes("A. ") ? "It is 3" : "The answer is C.";
}

const pick = (results: ReturnType<typeof summarizeTask>) =>
  results.map(({ items, models }) => ({ items, score: models[0]?.score }));

describe("a model with known answers", () => {
  test.each([
    // 4 of 6 questions
    ["mmlu", "base", [{ items: 6, score: 4 / 6 }]],
    ["mmlu", "chat", [{ items: 6, score: 4 / 6 }]],
    // the mean of 4/4 and 1/2
    ["ceval", "base", [{ items: 6, score: 3 / 4 }]],
    ["ceval", "chat", [{ items: 6, score: 3 / 4 }]],
    ["cmmlu", "base", [{ items: 3, score: 3 / 4 }]],
    ["gsm8k", "chat", [{ items: 3, score: 2 / 3 }]],
    ["humaneval", "base", [{ items: 2, score: 1 / 2 }]],
    ["humaneval", "chat", [{ items: 2, score: 1 / 2 }]],
    [
      "tool-use",
      "chat",
      [
        { items: 1, score: 1 },
        { items: 1, score: 1 },
        { items: 1, score: 1 },
      ],
    ],
  ] as const)("%s, %s: its score", async (name, mode, expected) => {
    const task = loaded(name, mode);
    const results = await runTask(task.items, new Scripted(constant));
    expect(pick(summarizeTask(task, [results]))).toEqual(
      expected.map(({ items, score }) => ({ items, score: expect.closeTo(score, 12) })),
    );
  });

  test("classes are means of the same kind", async () => {
    const task = loaded("ceval", "base");
    const results = await runTask(task.items, new Scripted(constant));
    expect(summarizeTask(task, [results])[0]?.models[0]?.categories).toEqual([
      { name: "Humanities", score: 1, items: 4 },
      { name: "Other", score: 0.5, items: 2 },
    ]);
  });
});

describe("two models", () => {
  const item = (index: number, score: number, group = ""): ItemResult => ({
    ...{ index, id: String(index), group, prompt: "", answer: "", logits: [], isCut: false },
    ...{ prediction: null, expected: "", scores: { m: score } },
  });
  const measure = {
    ...({ id: "m", title: "", metric: "", mean: "items", isBinary: true } as const),
  };
  const from = (scores: readonly number[]) => scores.map((score, i) => item(i, score));
  const repeat = (score: number, count: number) => new Array<number>(count).fill(score);

  test("that disagree one way differ; both ways it is noise", () => {
    const first = from([...repeat(1, 20), ...repeat(0, 20)]);
    const better = from([...repeat(1, 32), ...repeat(0, 8)]);
    const shifted = from([...repeat(0, 8), ...repeat(1, 21), ...repeat(0, 11)]);
    const task = { measures: [measure], categories: [] };
    const [result] = summarizeTask(task, [first, better, shifted]);
    const [, one, other] = result?.models ?? [];
    expect(result?.models[0]?.difference).toBeNull();
    expect(one?.difference).toMatchObject({
      ...{ value: expect.closeTo(0.3, 12), isNoise: false, method: "McNemar's exact test" },
      // 12 against none
      pValue: expect.closeTo(2 / 2 ** 12, 12),
    });
    expect(other?.difference).toMatchObject({ value: expect.closeTo(0.025, 12), isNoise: true });
  });

  test("on shares of words are compared by resampling items together", () => {
    const scores = Array.from({ length: 50 }, (_, i) => (i % 10) / 10);
    const task = { measures: [{ ...measure, isBinary: false }], categories: [] };
    const [result] = summarizeTask(task, [from(scores), from(scores.map((s) => s + 0.01))]);
    const difference = result?.models[1]?.difference;
    expect(difference).toMatchObject({ pValue: null, isNoise: false });
    expect(difference?.interval.low).toBeCloseTo(0.01, 6);
    const interval = result?.models[0]?.interval;
    expect(interval?.low).toBeLessThan(0.45);
    expect(interval?.high).toBeGreaterThan(0.45);
  });

  test("where groups count the same, a large one does not outweigh a small one", () => {
    const answers = [...repeat(1, 90), ...repeat(0, 10)].map((score, i) =>
      item(i, score, i < 90 ? "large" : "small"),
    );
    const [result] = summarizeTask({ measures: [{ ...measure, mean: "groups" }], categories: [] }, [
      answers,
    ]);
    expect(result?.models[0]?.score).toBeCloseTo(0.5, 12);
  });
});

describe("running", () => {
  const task = loaded("mmlu", "base");

  test("leaves out what is answered, and gives what it would have given", async () => {
    const whole = await runTask(task.items, new Scripted(constant));
    const answered = new Map(whole.slice(0, 4).map((result) => [result.index, result]));
    const model = new Scripted(constant);
    const seen: number[] = [];
    const options = { answered, onResult: ({ index }: ItemResult) => seen.push(index) };
    expect(await runTask(task.items, model, options)).toEqual(whole);
    expect(model.asked.length).toBe(2);
    expect(seen.sort()).toEqual([4, 5]);
  });

  test("sends the first of those that begin alike ahead, others together", async () => {
    const most: number[] = [];
    const model: Scripted = new Scripted((query) => {
      most.push(model.running);
      return constant(query);
    });
    await runTask(task.items, model);
    const subjects = model.asked.map((query) => (promptOf(query).includes("anatomy") ? "a" : "p"));
    expect(subjects.join("")).toBe("aaaapp");
    // When the first answer of each comes, nothing else is under way.
    expect(most[0]).toBe(0);
    expect(Math.max(...most)).toBe(2);
  });

  test("ends when one answer fails, with its error", async () => {
    const model = new Scripted(() => {
      throw new Error("broken");
    });
    await expect(runTask(task.items, model)).rejects.toThrow("broken");
  });

  test("ends when it is told to", async () => {
    const controller = new AbortController();
    const model = new Scripted((query) => {
      controller.abort(new Error("enough"));
      return constant(query);
    });
    const ended = runTask(task.items, model, { signal: controller.signal });
    await expect(ended).rejects.toThrow("enough");
    expect(model.asked.length).toBeLessThan(task.items.length);
  });
});
