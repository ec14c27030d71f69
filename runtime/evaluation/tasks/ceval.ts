// C-Eval (Huang et al., arXiv:2305.08322) and CMMLU (Li et al., arXiv:2306.09212) as Qwen's evaluate_ceval.py,
// evaluate_chat_ceval.py and evaluate_cmmlu.py ask them.
import { join } from "node:path";
import { extractChineseChoice } from "./choice-extraction.ts";
import { findData, readCsv } from "./data-files.ts";
import { type ChoiceBenchmark, choiceLines, loadChoices, questionOf } from "./multiple-choice.ts";
import { cevalCategories, cmmluCategories } from "./subjects.ts";
import type { Measure, Task } from "./task.ts";

/** What both do with a base model. */
const asBase: Pick<ChoiceBenchmark, "letters" | "basePrompt"> = {
  letters: { letters: ["A", "B", "C", "D"], maxTokens: Number.MAX_SAFE_INTEGER },
  basePrompt: (_subject, examples, question) => {
    const asked = [...examples, question].map(
      (each) => `问题：${each.question}\n${choiceLines(each)}\n答案：`,
    );
    const worked = examples.map(({ answer }, i) => `${asked[i]}${answer}\n\n`);
    return `${worked.join("")}${asked.at(-1)}`;
  },
};

function accuracy(id: string, title: string): Measure {
  const metric = "accuracy, mean over subjects";
  return { id, title, metric, mean: "groups", isBinary: true };
}

export const ceval: Task = {
  name: "ceval",
  load: (options) => {
    const data = findData(options.dataDir, {
      name: "C-Eval",
      places: ["ceval"],
      url: "https://huggingface.co/datasets/ceval/ceval-exam",
    });
    return loadChoices(
      {
        ...{ name: "C-Eval (val)", categories: cevalCategories, ...asBase, notes: [] },
        measure: accuracy("ceval", "C-Eval"),
        filesOf: (subject) => ({
          dev: join(data, "dev", `${subject}_dev.csv`),
          test: join(data, "val", `${subject}_val.csv`),
        }),
        read: (path) =>
          readCsv(path).map((row, i) =>
            questionOf(row, { question: "question", answer: "answer" }, `${path}, row ${i + 2}`),
          ),
        chat: {
          prompt: (question) => `${question.question}\n\n${choiceLines(question)}\n`,
          extract: extractChineseChoice,
        },
      },
      data,
      options,
    );
  },
};

export const cmmlu: Task = {
  name: "cmmlu",
  load: (options) => {
    const data = findData(options.dataDir, {
      name: "CMMLU",
      places: ["cmmlu"],
      url: "https://huggingface.co/datasets/haonan-li/cmmlu",
    });
    return loadChoices(
      {
        ...{ name: "CMMLU", categories: cmmluCategories, ...asBase, notes: [] },
        measure: accuracy("cmmlu", "CMMLU"),
        filesOf: (subject) => ({
          dev: join(data, "dev", `${subject}.csv`),
          test: join(data, "test", `${subject}.csv`),
        }),
        read: (path) =>
          readCsv(path).map((row, i) =>
            questionOf(row, { question: "Question", answer: "Answer" }, `${path}, row ${i + 2}`),
          ),
        chat: undefined,
      },
      data,
      options,
    );
  },
};
