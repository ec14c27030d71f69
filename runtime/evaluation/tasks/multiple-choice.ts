// What MMLU, C-Eval and CMMLU have in common: questions with four choices by subject, asked after worked examples (base models) or
// bare (chat models).
import { existsSync } from "node:fs";
import { EvaluationError } from "../errors.ts";
import { describeSelection, takeEvenly } from "./selection.ts";
import type { Category, Grade, LoadedTask, Measure, Query, Reply, TaskOptions } from "./task.ts";

export const choiceLetters = ["A", "B", "C", "D"] as const;
export type ChoiceLetter = (typeof choiceLetters)[number];

export type ChoiceQuestion = {
  readonly question: string;
  readonly choices: Readonly<Record<ChoiceLetter, string>>;
  readonly answer: ChoiceLetter;
};

/** A benchmark of that kind. */
export type ChoiceBenchmark = {
  /** Such as "MMLU". */
  readonly name: string;
  readonly categories: readonly Category[];
  readonly measure: Measure;
  readonly notes: readonly string[];
  /** Where a subject's questions are; those that are asked are `test`. */
  filesOf(subject: string): { readonly dev: string; readonly test: string };
  read(path: string): readonly ChoiceQuestion[];
  /** How a base model is asked: a query without a prompt, and the prompt. */
  readonly letters: Omit<Query & { kind: "letters" }, "prompt" | "kind">;
  basePrompt(
    subject: string,
    examples: readonly ChoiceQuestion[],
    question: ChoiceQuestion,
  ): string;
  /** How a chat model is asked and understood; undefined if it is asked as a base model is. */
  readonly chat:
    | {
        prompt(question: ChoiceQuestion): string;
        extract(answer: string, question: ChoiceQuestion): ChoiceLetter | null;
      }
    | undefined;
};

type Asked = {
  readonly group: string;
  readonly row: number;
  readonly question: ChoiceQuestion;
  readonly examples: readonly ChoiceQuestion[];
};

/** @throws EvaluationError EVALUATION_DATA */
export function loadChoices(
  benchmark: ChoiceBenchmark,
  data: string,
  { mode, shots, limit }: Pick<TaskOptions, "mode" | "shots" | "limit">,
): LoadedTask {
  const subjects = [...new Set(benchmark.categories.flatMap(({ groups }) => [...groups]))];
  const present = subjects.filter((subject) => existsSync(benchmark.filesOf(subject).test));
  const [first = ""] = subjects;
  if (present.length === 0) {
    throw new EvaluationError(
      "EVALUATION_DATA",
      `${data}: no subject of ${benchmark.name} is there; expected files such as ${benchmark.filesOf(first).test}`,
    );
  }
  const chat = mode === "chat" ? benchmark.chat : undefined;
  const all = present.flatMap((subject) =>
    readSubject(benchmark, subject, chat === undefined ? shots : 0),
  );
  const kept = takeEvenly(all, limit);
  const score = (letter: string | null, { answer }: ChoiceQuestion): Grade => ({
    prediction: letter,
    scores: { [benchmark.measure.id]: letter === answer ? 1 : 0 },
  });
  const items = kept.map(({ group, row, question, examples }) => ({
    id: `${group}/${row}`,
    ...{ group, expected: question.answer },
    prefix: chat === undefined ? group : undefined,
    query: queryOf(benchmark, { group, question, examples }, chat),
    grade: ({ text }: Reply) =>
      score(chat === undefined ? text.trim() : chat.extract(text, question), question),
  }));
  const asked = chat === undefined ? `${shots}-shot` : "0-shot, chat";
  return {
    items,
    measures: [{ ...benchmark.measure, title: `${benchmark.name}, ${asked}` }],
    ...{ categories: benchmark.categories, data },
    notes: [
      ...(present.length === subjects.length
        ? []
        : [`${present.length} of ${subjects.length} subjects are in the data`]),
      ...describeSelection(kept.length, all.length),
      ...benchmark.notes,
      ...(mode === "chat" && chat === undefined
        ? ["a chat model is asked as base models are, as in Qwen's script"]
        : []),
    ],
  };
}

function queryOf(
  { letters, basePrompt }: ChoiceBenchmark,
  { group, question, examples }: Omit<Asked, "row">,
  chat: ChoiceBenchmark["chat"],
): Query {
  if (chat !== undefined) return { kind: "chat", message: chat.prompt(question) };
  return { kind: "letters", prompt: basePrompt(group, examples, question), ...letters };
}

function readSubject(benchmark: ChoiceBenchmark, group: string, shots: number): readonly Asked[] {
  const { dev, test } = benchmark.filesOf(group);
  const examples = shots === 0 ? [] : benchmark.read(dev).slice(0, shots);
  if (examples.length < shots) {
    throw new EvaluationError(
      "EVALUATION_DATA",
      `${dev}: ${examples.length} rows, but ${shots} examples are wanted; ask for fewer (--shots)`,
    );
  }
  return benchmark.read(test).map((question, row) => ({ group, row, question, examples }));
}

/**
 * A question from a row of a table.
 *
 * @param columns  what the question's and the answer's columns are called
 * @throws EvaluationError EVALUATION_DATA
 */
export function questionOf(
  row: Readonly<Record<string, string>>,
  columns: { readonly question: string; readonly answer: string },
  where: string,
): ChoiceQuestion {
  const field = (name: string): string => {
    const text = row[name];
    if (text !== undefined) return text;
    throw new EvaluationError("EVALUATION_DATA", `${where}: column ${name} is missing`);
  };
  const answer = choiceLetters.find((letter) => letter === field(columns.answer).trim());
  if (answer === undefined) {
    throw new EvaluationError(
      "EVALUATION_DATA",
      `${where}: the answer is ${JSON.stringify(field(columns.answer))}; expected A, B, C or D`,
    );
  }
  const choices = { A: field("A"), B: field("B"), C: field("C"), D: field("D") };
  return { question: field(columns.question), choices, answer };
}

/** Lines "A. …" to "D. …". */
export function choiceLines({ choices }: ChoiceQuestion): string {
  return choiceLetters.map((letter) => `${letter}. ${choices[letter]}`).join("\n");
}
