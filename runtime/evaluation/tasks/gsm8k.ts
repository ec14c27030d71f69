// GSM8K (Cobbe et al., arXiv:2110.14168) as Qwen's evaluate_gsm8k.py and evaluate_chat_gsm8k.py ask it. Their worked examples are
// rows of the training set, which is read where they are wanted.
import { createHash } from "node:crypto";
import { z } from "zod";
import { EvaluationError } from "../errors.ts";
import { type DataSource, findData, readJsonLines } from "./data-files.ts";
import { pythonNumber, pythonPattern } from "./python-pattern.ts";
import { describeSelection, takeEvenly } from "./selection.ts";
import type { Grade, Query, Task, TaskItem, TaskOptions } from "./task.ts";

type Row = { readonly question: string; readonly answer: string };
const row: z.ZodType<Row> = z.object({ question: z.string(), answer: z.string() });

const url = "https://github.com/openai/grade-school-math/tree/master/grade_school_math/data";

/** Rows of train.jsonl, from 0, and what the text made of them hashes to. */
type Examples = { readonly rows: readonly number[]; readonly sha256: string };

const eight: Examples = {
  rows: [4997, 4280, 3996, 1344, 6011, 328, 3809, 2053],
  sha256: "b067972c3ba476496af49bacfc2ade83e4bc72c47a52f7f0e70d7d9e8f573e0d",
};
const four: Examples = {
  rows: [7364, 1708, 669, 6724],
  sha256: "25974f0a5d980c8e6b432422e959cb3293b6d715a99a90d1a4c8ab1ae207c54f",
};

const newTokens = 512;

export const gsm8k: Task = {
  name: "gsm8k",
  load: (options) => {
    const data = findData(options.dataDir, sourceOf("test"));
    const rows = readJsonLines(data, row).map((each, index) => ({ ...each, index, group: "" }));
    const kept = takeEvenly(rows, options.limit);
    const { asked, queryOf, grade } = protocolOf(options);
    const items = kept.map(
      ({ question, answer, index, group }): TaskItem => ({
        ...{ id: String(index), group, query: queryOf(question) },
        prefix: asked === "0-shot, chat" ? undefined : asked,
        expected: goldOf(answer, `${data}, row ${index + 1}`),
        grade: ({ text }) => grade(text, answer),
      }),
    );
    return {
      items,
      measures: [
        {
          ...{ id: "gsm8k", title: `GSM8K, ${asked}`, metric: "accuracy, mean over questions" },
          ...{ mean: "items", isBinary: true },
        },
      ],
      ...{ categories: [], data, notes: describeSelection(kept.length, rows.length) },
    };
  },
};

function sourceOf(split: "train" | "test"): DataSource {
  const places = [
    `gsm8k/${split}.jsonl`,
    `gsm8k-${split}.jsonl`,
    `grade-school-math/grade_school_math/data/${split}.jsonl`,
  ];
  return { name: `GSM8K's ${split}.jsonl`, places, url };
}

type Protocol = {
  readonly asked: string;
  queryOf(question: string): Query;
  grade(text: string, answer: string): Grade;
};

function protocolOf({ mode, fewShot, dataDir }: TaskOptions): Protocol {
  if (mode === "base") {
    const examples = fewShotText(dataDir, eight, (parts) => `${parts.join("\n\n")}\n`);
    return {
      asked: "8-shot",
      queryOf: (question) => ({
        ...{ kind: "continue", maxNewTokens: newTokens, allowedSpecial: "all" },
        prompt: `${examples}\nQuestion: ${question}\nLet's think step by step\n`,
        stop: ["\n\n", "Question:"],
      }),
      grade: gradeBase,
    };
  }
  const examples = fewShot
    ? fewShotText(dataDir, four, (parts) => parts.map((part) => `${part}\n\n`).join(""))
    : undefined;
  return {
    asked: fewShot ? "4-shot, chat" : "0-shot, chat",
    queryOf: (question) => ({
      kind: "chat",
      message:
        examples === undefined
          ? question
          : `${examples}Question: ${question}\nLet's think step by step`,
    }),
    grade: gradeChat,
  };
}

/**
 * The worked examples before a question.
 *
 * @throws EvaluationError EVALUATION_DATA if the training rows are not those of the published file
 */
function fewShotText(
  dataDir: string,
  { rows, sha256 }: Examples,
  assemble: (parts: readonly string[]) => string,
): string {
  const path = findData(dataDir, sourceOf("train"));
  const train = readJsonLines(path, row);
  const text = assemble(rows.map((index) => workedExample(train[index])));
  if (createHash("sha256").update(text).digest("hex") === sha256) return text;
  throw new EvaluationError(
    "EVALUATION_DATA",
    `${path}: the rows for worked examples are not those of the published file of 7473 rows; get it from ${url}`,
  );
}

function workedExample(example: Row | undefined): string {
  const { question, answer } = example ?? { question: "", answer: "" };
  const [, reasoning = "", number = ""] = /^(.*)\n#### (.*)$/s.exec(answer) ?? [];
  const plain = reasoning.replace(/<<.*?>>/g, "");
  return `Question: ${question}\nLet's think step by step\n${plain}\nThe answer is ${number}`;
}

function goldOf(answer: string, where: string): string {
  const [, number] = /#### (-?[0-9.,]+)/.exec(answer) ?? [];
  if (number !== undefined) return number.replaceAll(",", "");
  throw new EvaluationError("EVALUATION_DATA", `${where}: the answer does not end with "#### N"`);
}

const digits = pythonPattern(String.raw`\d+`, "g");

/** The last run of digits counts: decimals, signs and separators of thousands are misread, as in the published figures. */
function gradeBase(text: string, answer: string): Grade {
  const prediction = text.match(digits)?.at(-1) ?? null;
  const number = prediction === null ? undefined : pythonNumber(prediction);
  const isRight = number !== undefined && number === Number(goldOf(answer, "GSM8K"));
  return { prediction, scores: { gsm8k: isRight ? 1 : 0 } };
}

const lastNumber = pythonPattern(
  String.raw`([+-])?(?=([0-9]|\.[0-9]))(0|([1-9](\d{0,2}(,\d{3})*)|\d*))?(\.\d*)?(?=\D|$)`,
  "g",
);
const tolerance = 1e-4;

function gradeChat(text: string, answer: string): Grade {
  const prediction = numberIn(text);
  const [gold, number] = [numberIn(answer), prediction].map((found) =>
    found === null ? undefined : pythonNumber(found),
  );
  const isRight =
    gold !== undefined && number !== undefined && Math.abs(gold - number) <= tolerance;
  return { prediction, scores: { gsm8k: isRight ? 1 : 0 } };
}

function numberIn(text: string): string | null {
  return text.match(lastNumber)?.at(-1)?.replace(/[,+]/g, "") ?? null;
}
