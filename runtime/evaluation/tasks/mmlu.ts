// MMLU (Hendrycks et al., arXiv:2009.03300) as Qwen's evaluate_mmlu.py and evaluate_chat_mmlu.py ask it.
import { join } from "node:path";
import { extractEnglishChoice } from "./choice-extraction.ts";
import { findData, readCsv } from "./data-files.ts";
import { choiceLines, loadChoices, questionOf } from "./multiple-choice.ts";
import { mmluCategories } from "./subjects.ts";
import type { Task } from "./task.ts";

const columns = ["question", "A", "B", "C", "D", "answer"] as const;

export const mmlu: Task = {
  name: "mmlu",
  load: (options) => {
    const data = findData(options.dataDir, {
      name: "MMLU",
      places: ["mmlu/data", "mmlu"],
      url: "https://people.eecs.berkeley.edu/~hendrycks/data.tar",
    });
    return loadChoices(
      {
        name: "MMLU",
        categories: mmluCategories,
        measure: {
          ...{ id: "mmlu", title: "MMLU", metric: "accuracy, mean over questions" },
          ...{ mean: "items", isBinary: true },
        },
        notes: [],
        filesOf: (subject) => ({
          dev: join(data, "dev", `${subject}_dev.csv`),
          test: join(data, "test", `${subject}_test.csv`),
        }),
        read: (path) =>
          readCsv(path, columns).map((row, i) =>
            questionOf(row, { question: "question", answer: "answer" }, `${path}, row ${i + 1}`),
          ),
        letters: { letters: [" A", " B", " C", " D"], maxTokens: 2047 },
        basePrompt: (subject, examples, question) => {
          const about = subject.replaceAll("_", " ");
          const asked = [...examples, question].map(
            (each) => `Question: ${each.question}\n${choiceLines(each)}\nAnswer:`,
          );
          const worked = examples.map(({ answer }, i) => `${asked[i]} ${answer}\n\n`);
          return (
            `The following are multiple choice questions (with answers) about ${about}.\n\n` +
            `${worked.join("")}${asked.at(-1)}`
          );
        },
        chat: {
          prompt: (question) =>
            "The following is a multiple-choice question. Please choose the most suitable one among A, B, C and D " +
            `as the answer to this question.\n\n${question.question}\n${choiceLines(question)}\n`,
          extract: extractEnglishChoice,
        },
      },
      data,
      options,
    );
  },
};
