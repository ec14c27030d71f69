// HumanEval (Chen et al., arXiv:2107.03374) as Qwen's evaluate_humaneval.py and evaluate_chat_humaneval.py ask it, one greedy
// sample per problem. Generated code is run only where the caller has a way to.
import { z } from "zod";
import { findData, readJsonLines } from "./data-files.ts";
import { pythonPattern } from "./python-pattern.ts";
import { describeSelection, takeEvenly } from "./selection.ts";
import type { Query, Task, TaskItem, TaskMode } from "./task.ts";

type Problem = {
  readonly task_id: string;
  readonly prompt: string;
  readonly entry_point: string;
  readonly test: string;
};

const problem: z.ZodType<Problem> = z.object({
  ...{ task_id: z.string(), prompt: z.string(), test: z.string() },
  // It becomes part of a program and of a pattern.
  entry_point: z.string().regex(/^[A-Za-z_]\w*$/, "expected the name of a function"),
});

const newTokens = 512;

export const humaneval: Task = {
  name: "humaneval",
  load: ({ dataDir, mode, limit, runProgram }) => {
    const names = ["HumanEval.jsonl", "HumanEval.jsonl.gz"];
    const data = findData(dataDir, {
      name: "HumanEval",
      places: [...names, ...names.map((name) => `humaneval/${name}`)],
      url: "https://github.com/openai/human-eval/tree/master/data",
    });
    const problems = readJsonLines(data, problem).map((each) => ({ ...each, group: "" }));
    const kept = takeEvenly(problems, limit);
    const items = kept.map(
      (each): TaskItem => ({
        ...{ id: each.task_id, group: each.group, expected: `check(${each.entry_point})` },
        ...{ query: queryOf(each, mode), prefix: undefined },
        grade: async ({ text }) => {
          const completion = mode === "chat" ? codeOf(text, each.entry_point) : text;
          if (runProgram === undefined) return { prediction: completion, scores: {} };
          const isRight = await runProgram(programOf(each, completion));
          return { prediction: completion, scores: { humaneval: isRight ? 1 : 0 } };
        },
      }),
    );
    const title = `HumanEval, 0-shot${mode === "chat" ? ", chat" : ""}`;
    const measure = {
      ...{ id: "humaneval", title, metric: "pass@1 of a greedy sample" },
      ...({ mean: "items", isBinary: true } as const),
    };
    return {
      items,
      measures: runProgram === undefined ? [] : [measure],
      ...{ categories: [], data },
      notes: describeSelection(kept.length, problems.length),
    };
  },
};

/** @see https://github.com/openai/human-eval/blob/master/human_eval/execution.py */
function programOf({ prompt, test, entry_point }: Problem, completion: string): string {
  return `${prompt}${completion}\n${test}\ncheck(${entry_point})`;
}

function queryOf({ prompt, entry_point }: Problem, mode: TaskMode): Query {
  if (mode === "base") {
    // What follows a blank line or begins another function is not part of the answer.
    const stop = ["\n\n", "def "];
    return {
      ...{ kind: "continue", prompt, stop, maxNewTokens: newTokens, allowedSpecial: "none" },
    };
  }
  const signature = pythonPattern(String.raw`def\s+(${entry_point}.*?):\s*\n`).exec(prompt)?.[1];
  const quoted = /(?:"""|''')(.*?)(?:"""|''')/s.exec(prompt)?.[1] ?? "";
  const description = quoted
    .split("\n")
    .map((line) => line.trim())
    .join("\n");
  const message =
    `Write a Python function \`${signature ?? entry_point}\` to solve the following problem:\n` +
    `${description}\n${prompt}`;
  return { kind: "chat", message };
}

/** The body of the function in a chat's answer: of a code block, of the function anywhere, of any function, or all of the answer. */
function codeOf(answer: string, entryPoint: string): string {
  const patterns = [
    "```(?:[Pp]ython\\n)?.*?def\\s+ENTRY.*?:\\n(.*?)\\n```",
    String.raw`def\s+ENTRY.*?:\n(.*?)(?:\n(?!\n*(?:  |\t))|$)`,
    String.raw`def.*?:\n(.*?)(?:\n(?!\n*(?:  |\t))|$)`,
  ];
  for (const pattern of patterns) {
    const match = pythonPattern(pattern.replace("ENTRY", entryPoint), "s").exec(answer);
    if (match !== null) return match[1] ?? "";
  }
  return answer
    .split("\n")
    .map((line) => `    ${line}`)
    .join("\n");
}
