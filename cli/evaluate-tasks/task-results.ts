// Tasks and their answers as a run's result has them.
import { type ItemResult, type LoadedTask, summarizeTask } from "../../runtime/index.ts";
import type { TaskResult, UnscoredTask } from "../run-directory/format.ts";

export type AskedTask = LoadedTask & { readonly name: string };

/** Of each model. */
export type Answers = {
  readonly results: readonly (readonly ItemResult[])[];
  /** Where they are kept. */
  readonly files: readonly string[];
};

/** A result for each of the task's measures; none where answers were not judged. */
export function taskResults(task: AskedTask, answers: Answers): readonly TaskResult[] {
  const { items: _all, task: _name, title: _title, ...common } = commonOf(task, answers);
  return summarizeTask(task, answers.results).map(({ measure, items, models }) => ({
    ...{ task: measure.id, title: measure.title, metric: measure.metric, items },
    ...{ ...common, models },
  }));
}

/** What there is to say of a task whose answers were not judged; nothing of others. */
export function unscoredTasks(task: AskedTask, answers: Answers): readonly UnscoredTask[] {
  return task.measures.length === 0 ? [commonOf(task, answers)] : [];
}

function commonOf(task: AskedTask, { results, files }: Answers): UnscoredTask {
  const { name, data, items } = task;
  const notes = [...task.notes, ...cutNotes(results)];
  return { task: name, title: name, items: items.length, data, notes, answers: files };
}

/** Prompts are the same for all models, so the first one's are counted. */
function cutNotes([first = []]: readonly (readonly ItemResult[])[]): readonly string[] {
  const cut = first.filter(({ isCut }) => isCut).length;
  if (cut === 0) return [];
  return [
    `${cut} of ${first.length} prompts were longer than the model takes; their beginning was cut`,
  ];
}
