import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tableFromIPC } from "apache-arrow";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EvaluationRun, evaluationRun } from "../../../cli/run-directory/format.ts";
import { write, writeCeval, writeMmlu } from "../../runtime/evaluation/tasks/support.ts";
import { repositoryPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { evaluationText, mini, nibble, type Outcome, object } from "../support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const at = (...names: string[]) => join(temporary.path, ...names);
const letters = "ABCDDCBA";
writeMmlu(at("data"), "anatomy", letters.repeat(4));
writeMmlu(at("data"), "philosophy", letters);
writeCeval(at("data"), "law", letters);
const problem = {
  ...{ task_id: "T/0", entry_point: "f", prompt: "def f():\n" },
  test: "def check(f):\n    assert f() == 1\n",
};
write(at("data"), "HumanEval.jsonl", `${JSON.stringify(problem)}\n`);

const evaluate = (...args: string[]) => nibble(["evaluate", ...args]);
const questions = ["--base", "--data-dir", at("data")];
const readRun = (name: string): EvaluationRun =>
  evaluationRun.parse(JSON.parse(readFileSync(at(name, "run.json"), "utf8")));
const linesOf = (...names: string[]) =>
  readFileSync(at(...names), "utf8")
    .trim()
    .split("\n");

describe("a run with everything", { timeout: 120_000 }, () => {
  const text = ["--data", evaluationText, "--max-tokens", "3000", "--window", "256"];
  const everything = [
    ...[mini, mini, "--tasks", "ppl,kl,mmlu,ceval", ...text, ...questions, "--head", "int8"],
    ...["--samples", "It was a dark", "--samples", "She said", "--output", at("whole")],
  ];
  let outcome: Outcome;
  beforeAll(async () => {
    outcome = await evaluate(...everything, "--json");
  });

  test("leaves what it prints in run.json, by the schema that reports read", () => {
    expect(outcome.stderr).not.toContain("Warning");
    expect(object(outcome)).toEqual(JSON.parse(readFileSync(at("whole", "run.json"), "utf8")));
    const run = readRun("whole");
    expect(run.models.map(({ name }) => name)).toEqual(["qwen-mini", "qwen-mini-2"]);
    expect(run.models[0]).toMatchObject({ bitsPerWeight: 16, scheme: null, speed: null });
    expect(run.models[0]?.weightBytes).toBeGreaterThan(17_000_000);
    expect(run.command).toMatch(/^nibble evaluate .*--tasks ppl,kl,mmlu,ceval .*'It was a dark'/);
  });

  test("scores the text, and how far the second model is", () => {
    const [result] = readRun("whole").texts;
    const [first, second] = result?.models ?? [];
    expect(result).toMatchObject({ window: 256, windows: 11, scoredTokens: 11 * 255 });
    expect(first).toMatchObject({ difference: null, divergence: null });
    expect(first?.interval?.low).toBeLessThan(first?.perplexity ?? 0);
    expect(first?.interval?.high).toBeGreaterThan(first?.perplexity ?? 0);
    const { value, interval } = second?.difference ?? {};
    expect(value).toBeCloseTo((second?.perplexity ?? 0) - (first?.perplexity ?? 0), 12);
    expect(interval?.low).toBeLessThanOrEqual(value ?? Number.NaN);
    expect(interval?.high).toBeGreaterThanOrEqual(value ?? Number.NaN);
    expect(second?.divergence?.meanKl).toBeGreaterThan(0);
    const table = tableFromIPC(readFileSync(at("whole", result?.tokens ?? "")));
    expect(table.numRows).toBe(11 * 255);
    expect(table.schema.fields.map(({ name }) => name)).toContain("kl_2");
  });

  test("scores every question for every model", () => {
    const { tasks } = readRun("whole");
    expect(tasks.map(({ task, items }) => [task, items])).toEqual([
      ["mmlu", 40],
      ["ceval", 8],
    ]);
    for (const { models, answers, items } of tasks) {
      expect(models.length).toBe(2);
      expect(models[0]?.difference).toBeNull();
      for (const { score, interval } of models) {
        expect(score).toBeGreaterThanOrEqual(0);
        expect(score).toBeLessThanOrEqual(1);
        expect(interval.low).toBeLessThanOrEqual(score);
        expect(interval.high).toBeGreaterThanOrEqual(score);
      }
      for (const file of answers) expect(linesOf("whole", file).length).toBe(items);
    }
    const answers = linesOf("whole", "answers/mmlu-qwen-mini.jsonl").map(
      (line) => JSON.parse(line) as Record<string, unknown>,
    );
    expect(answers.map(({ index }) => index)).toEqual([...answers.keys()]);
    const right = answers.filter(({ prediction, expected }) => prediction === expected).length;
    expect(tasks[0]?.models[0]?.score).toBeCloseTo(right / 40, 12);
  });

  test("shows how each model goes on", () => {
    const { samples } = readRun("whole");
    expect(samples.map(({ prompt }) => prompt)).toEqual(["It was a dark", "She said"]);
    for (const { outputs } of samples) {
      expect(outputs.map(({ pieces }) => pieces.length > 10)).toEqual([true, true]);
    }
  });

  test("is there at once the second time, as a table", async () => {
    const again = await evaluate(...everything);
    expect(again.stderr).not.toContain("%");
    expect(again.stdout).toMatch(/MMLU, 5-shot.*accuracy, mean over questions; 40 items/);
    expect(again.stdout).toMatch(/2 of 57 subjects/);
    expect(again.stdout).toMatch(/qwen-mini-2 .*noise/);
    const { seconds, ...rest } = readRun("whole");
    const { seconds: before, ...earlier } = object(outcome) as EvaluationRun;
    // The table was asked for without --json.
    expect(rest).toEqual({ ...earlier, command: rest.command });
    expect(seconds).toBeGreaterThan(before);
  });

  test("with other settings is refused, which are named, unless it is to begin anew", async () => {
    const other = [mini, "--tasks", "mmlu", ...questions, "--limit", "4", "--output", at("whole")];
    expect(await evaluate(...other)).toMatchObject({
      ...{ status: 2, stderr: expect.stringMatching(/models, tasks, .*questions.*--overwrite/) },
    });
    write(at("whole"), "report.html", "made of the run");
    expect(await evaluate(...other, "--overwrite", "-q")).toMatchObject({ status: 0 });
    expect(existsSync(at("whole", "report.html"))).toBe(true);
    expect(readRun("whole")).toMatchObject({ texts: [], samples: [], tasks: [{ items: 4 }] });
    expect(readdirSync(at("whole", "answers"))).toEqual(["mmlu-qwen-mini.jsonl"]);
  });
});

test("a run that was killed goes on, and gives what it would have given", {
  timeout: 120_000,
}, async () => {
  const args = [mini, mini, "--tasks", "mmlu", ...questions];
  expect(await evaluate(...args, "--output", at("straight"), "-q")).toMatchObject({ status: 0 });
  const main = repositoryPath("dist", "cli", "main.js");
  const child = spawn(process.execPath, [main, "evaluate", ...args, "--output", at("cut"), "-q"]);
  const ended = new Promise((resolve) => child.on("close", resolve));
  const partial = at("cut", "answers", "mmlu-qwen-mini-2.jsonl.partial");
  await expect
    .poll(() => existsSync(partial) && readFileSync(partial, "utf8").split("\n").length > 3, {
      ...{ timeout: 60_000, interval: 2 },
    })
    .toBe(true);
  // Held still, so that it cannot end before another finds it at work.
  child.kill("SIGSTOP");
  const second = await evaluate(...args, "--output", at("cut"));
  expect(second).toMatchObject({ status: 2, stderr: expect.stringContaining(String(child.pid)) });
  child.kill("SIGKILL");
  await ended;
  expect(existsSync(at("cut", "run.json"))).toBe(false);
  writeFileSync(partial, `${readFileSync(partial, "utf8")}{"index": 39, "id`);
  const outcome = await evaluate(...args, "--output", at("cut"));
  expect(outcome.status).toBe(0);
  expect(outcome.stderr).toMatch(/mmlu, qwen-mini-2 \(2 of 2\): going on after \d+ answers of 40/);
  const comparable = (name: string) => {
    const { startedAt: _start, seconds: _seconds, command: _command, ...rest } = readRun(name);
    return rest;
  };
  expect(comparable("cut")).toEqual(comparable("straight"));
  for (const name of ["mmlu-qwen-mini.jsonl", "mmlu-qwen-mini-2.jsonl"]) {
    expect(linesOf("cut", "answers", name)).toEqual(linesOf("straight", "answers", name));
  }
});

test("Ctrl-C leaves what is answered, and says so", { timeout: 60_000 }, async () => {
  const args = ["evaluate", mini, "--tasks", "mmlu", ...questions, "--output", at("stopped")];
  const outcome = await nibble(args, {
    onError: (text, kill) => {
      if (text.includes("%")) kill("SIGINT");
    },
  });
  expect(outcome).toMatchObject({ status: 130, stderr: expect.stringMatching(/same command/) });
  expect(readdirSync(at("stopped")).some((name) => name.includes("lock"))).toBe(false);
  expect(await nibble(args)).toMatchObject({
    ...{ status: 0, stderr: expect.stringMatching(/going on after \d+ answer/) },
  });
});

test("a chat model is asked in words, nothing kept", { timeout: 120_000 }, async () => {
  write(at("data"), "exam_plugin_v1_react_positive.jsonl", '{"prompt": "p", "response": "r"}\n');
  write(at("data"), "exam_plugin_v1_react_negative.jsonl", '{"prompt": "p", "response": "r"}\n');
  write(at("data"), "gsm8k/test.jsonl", '{"question": "2 + 3?", "answer": "5\\n#### 5"}\n');
  const tasks = ["--tasks", "mmlu,ceval,gsm8k,tool-use", "--limit", "2"];
  const run = object(await evaluate(mini, mini, ...tasks, "--data-dir", at("data"), "--json"));
  expect(evaluationRun.parse(run).tasks.map(({ title, items }) => [title, items])).toEqual([
    ["MMLU, 0-shot, chat", 2],
    ["C-Eval (val), 0-shot, chat", 2],
    ["GSM8K, 0-shot, chat", 1],
    ["Tool use: selection", 1],
    ["Tool use: input", 1],
    ["Tool use: false positives", 1],
  ]);
  for (const { models, answers, notes } of evaluationRun.parse(run).tasks) {
    expect(models[1]?.difference).toMatchObject({ value: 0, isNoise: true });
    expect(answers).toEqual([]);
    expect(notes.join()).toContain("asked as a chat model (ChatML)");
  }
});

describe("generated code", { timeout: 60_000 }, () => {
  const args = [mini, "--tasks", "humaneval", ...questions];

  test("is not run unless that is asked for, and there is no score", async () => {
    const run = object(await evaluate(...args, "--output", at("code"), "--json"));
    expect(run).toMatchObject({ tasks: [], unscored: [{ task: "humaneval", items: 1 }] });
    expect(JSON.stringify(run["unscored"])).toContain("--run-generated-code");
    expect(readRun("code")).toEqual(run);
    expect((await evaluate(...args, "--output", at("code"))).stdout).toMatch(/not run/);
    const [answer = ""] = linesOf("code", "answers", "humaneval-qwen-mini.jsonl");
    expect(JSON.parse(answer)).toMatchObject({ id: "T/0", scores: {} });
  });

  test("is refused without python3", async () => {
    const bare = { env: { PATH: at("nowhere") } };
    const outcome = await nibble(["evaluate", ...args, "--run-generated-code"], bare);
    expect(outcome).toMatchObject({ status: 2, stderr: expect.stringContaining("python3") });
  });
});

describe("a directory that is not the run's", () => {
  const args = [mini, "--tasks", "mmlu", ...questions];

  test("is left alone", async () => {
    write(at("mine"), "notes.txt", "x");
    for (const more of [[], ["--overwrite"]]) {
      const outcome = await evaluate(...args, "--output", at("mine"), ...more);
      expect(outcome).toMatchObject({ status: 2, stderr: expect.stringContaining("not empty") });
    }
    expect(readdirSync(at("mine"))).toEqual(["notes.txt"]);
  });

  test("and answers that are none are named with their line", async () => {
    expect(await evaluate(...args, "--output", at("bad"), "-q")).toMatchObject({ status: 0 });
    writeFileSync(at("bad", "answers", "mmlu-qwen-mini.jsonl"), '{"index": 0}\n');
    expect(await evaluate(...args, "--output", at("bad"))).toMatchObject({
      ...{ status: 3, stderr: expect.stringMatching(/mmlu-qwen-mini\.jsonl, line 1/) },
    });
  });
});

describe("what makes no sense", () => {
  const tasks = [mini, "--tasks", "mmlu"];
  test.each([
    ["an unknown task", [mini, "--tasks", "mmlu,arc"], /"arc".*mmlu/, 2],
    ["no data directory", tasks, /--data-dir/, 2],
    ["no text", [mini, "--tasks", "ppl"], /--data FILE/, 2],
    ["a text for nothing", [...tasks, ...questions, "--data", evaluationText], /--data has/, 2],
    ["kl of one model", [mini, "--tasks", "kl", "--data", evaluationText], /--tasks kl/, 2],
    ["flags of tasks alone", [mini, "--data", evaluationText, "--limit", "3"], /--limit goes/, 2],
    ["flags of others", [...tasks, ...questions, "--lengths", "64"], /--lengths does not/, 2],
    ["both forms", [...tasks, ...questions, "--chat"], /--chat and --base/, 2],
    ["--overwrite of nothing", [...tasks, ...questions, "--overwrite"], /--overwrite/, 2],
    ["two texts", [mini, "--data", evaluationText, "--data", evaluationText], /repeated/, 2],
    ["tools of a base model", [mini, "--tasks", "tool-use", ...questions], /tool-use/, 2],
    ["data that is not there", [mini, "--tasks", "gsm8k", ...questions], /gsm8k.*https:/, 3],
    [
      "a text that is not there",
      [mini, "--tasks", "ppl", "--data", at("no.txt"), "--output", at("none")],
      /no\.txt/,
      3,
    ],
    [
      "one window",
      [mini, mini, "--tasks", "ppl", "--data", evaluationText, "--max-tokens", "600"],
      /too few windows/,
      3,
    ],
  ])("%s", async (_what, args, message, status) => {
    const outcome = await evaluate(...args);
    expect(outcome).toMatchObject({ status, stderr: expect.stringMatching(message) });
  });
});
