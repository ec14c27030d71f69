// Tool use in ReAct form, as Qwen's evaluate_plugin.py measures it: whether the right tool is chosen, how well its input is written,
// and how often a tool is called where none is wanted.
import { join } from "node:path";
import JSON5 from "json5";
import { z } from "zod";
import { EvaluationError } from "../errors.ts";
import { filesMatching, readJsonLines } from "./data-files.ts";
import { rougeL } from "./rouge.ts";
import { describeSelection, takeEvenly } from "./selection.ts";
import type { Grade, Measure, Task, TaskItem } from "./task.ts";

type Row = { readonly prompt: string; readonly response: string };
const row: z.ZodType<Row> = z.object({ prompt: z.string(), response: z.string().default("") });

type Kind = "positive" | "negative";
type Example = Row & { readonly group: Kind; readonly index: number };

const measures: readonly Measure[] = [
  {
    ...{ id: "tool-use-selection", title: "Tool use: selection", mean: "items", isBinary: true },
    metric: "share of calls of the right tool",
  },
  {
    ...{ id: "tool-use-input", title: "Tool use: input", mean: "items", isBinary: false },
    metric: "Rouge-L F of the tool's input, mean over calls",
  },
  {
    ...{ id: "tool-use-false-positive", title: "Tool use: false positives", mean: "items" },
    ...{ isBinary: true, metric: "share of calls where none is wanted; smaller is better" },
  },
];

export const toolUse: Task = {
  name: "tool-use",
  load: ({ dataDir, mode, limit, tokensOf }) => {
    if (mode === "base") {
      throw new EvaluationError(
        "EVALUATION_OPTION",
        "tool use (--tasks tool-use) takes a chat model; this is a base model (or --base was given)",
      );
    }
    const files = findFiles(dataDir);
    const all = (["positive", "negative"] as const).flatMap((kind) =>
      readJsonLines(files[kind], row).map((each, index) => ({ ...each, group: kind, index })),
    );
    const kept = takeEvenly(all, limit);
    const items = kept.map((each: Example): TaskItem => {
      return {
        ...{ id: `${each.group}/${each.index}`, group: each.group, expected: each.response },
        ...{ query: { kind: "chat", message: each.prompt }, prefix: undefined },
        grade: ({ text }) => (each.group === "positive" ? gradeCall(text, each) : gradeNone(text)),
      };
    });
    const asked = new Set(kept.map(({ group }) => group));
    return {
      items,
      measures: measures.filter(({ id }) =>
        asked.has(id === "tool-use-false-positive" ? "negative" : "positive"),
      ),
      ...{ categories: [], data: files.positive },
      notes: describeSelection(kept.length, all.length),
    };

    function gradeCall(text: string, { response }: Row): Grade {
      const [given, golden] = [fieldsOf(text), fieldsOf(response)];
      const isRight = isCall(text) && sameName(given.action, golden.action);
      const input = rougeL(
        tokensOf(canonical(given.input)).join(" "),
        tokensOf(canonical(golden.input)).join(" "),
      );
      return {
        prediction: isCall(text) ? given.action.trim() : null,
        scores: { "tool-use-selection": isRight ? 1 : 0, "tool-use-input": input },
      };
    }
  },
};

function gradeNone(text: string): Grade {
  return {
    prediction: isCall(text) ? fieldsOf(text).action.trim() : null,
    scores: { "tool-use-false-positive": isCall(text) ? 1 : 0 },
  };
}

function findFiles(dataDir: string): Readonly<Record<Kind, string>> {
  const dirs = [dataDir, join(dataDir, "tool-use")];
  for (const dir of dirs) {
    // The newest set, by the date in its name.
    const name = filesMatching(dir, /^exam_plugin_.*react_positive\.jsonl$/).at(-1);
    if (name === undefined) continue;
    const positive = join(dir, name);
    return { positive, negative: positive.replace(/positive\.jsonl$/, "negative.jsonl") };
  }
  throw new EvaluationError(
    "EVALUATION_DATA",
    `the tool-use examples are not in ${dataDir} (--data-dir); expected exam_plugin_v20231206_react_positive.jsonl ` +
      "and …_negative.jsonl there or in tool-use/; get them as https://github.com/QwenLM/Qwen/blob/main/eval/EVALUATION.md says",
  );
}

function isCall(text: string): boolean {
  return text.includes("\nAction: ");
}

/** What follows the first "Action:" and the first "Action Input:". */
function fieldsOf(response: string): { readonly action: string; readonly input: string } {
  const text = `${response}\n`;
  const between = (start: string, ends: readonly string[]): string => {
    const at = text.indexOf(start);
    if (at < 0) return "";
    const rest = text.slice(at + start.length);
    const stops = ends.map((end) => rest.indexOf(end)).filter((end) => end >= 0);
    return rest.slice(0, Math.min(rest.length, ...stops));
  };
  return {
    action: between("Action:", ["Action Input:", "Observation:"]),
    input: between("Action Input:", ["Observation:"]),
  };
}

function sameName(a: string, b: string): boolean {
  return a.trim().toLowerCase() === b.trim().toLowerCase();
}

/** Arguments in one way of writing them, "" where they cannot be read. */
function canonical(input: string): string {
  try {
    return pythonJson(JSON5.parse(input.trim()));
  } catch {
    return ""; // not JSON, as the original counts it
  }
}

/** As Python's json.dumps with sorted keys writes it. */
function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, each]) => `${JSON.stringify(key)}: ${pythonJson(each)}`).join(", ")}}`;
}
