// Tasks and their answers as a run's result has them.
import { type ItemResult, type LoadedTask, summarizeTask } from "../../runtime/index.ts";
import type { TaskResult } from "../run-directory/format.ts";

export type AskedTask = LoadedTask & { readonly name: string };

/**
 * A result for each of the task's measures; one without models where answers were not judged.
 *
 * @param results  of each model; `files` is where they are kept
 */
export function taskResults(
  task: AskedTask,
  {
    results,
    files,
  }: { readonly results: readonly (readonly ItemResult[])[]; readonly files: readonly string[] },
): readonly TaskResult[] {
  const { name, data, items } = task;
  const common = { data, notes: [...task.notes, ...cutNotes(results)], answers: files };
  if (task.measures.length === 0) {
    return [
      { task: name, title: name, metric: "not judged", items: items.length, ...common, models: [] },
    ];
  }
  return summarizeTask(task, results).map(({ measure, items: counted, models }) => ({
    ...{ task: measure.id, title: measure.title, metric: measure.metric, items: counted },
    ...{ ...common, models },
  }));
}

/** Prompts are the same for all models, so the first one's are counted. */
function cutNotes([first = []]: readonly (readonly ItemResult[])[]): readonly string[] {
  const cut = first.filter(({ isCut }) => isCut).length;
  if (cut === 0) return [];
  return [
    `${cut} of ${first.length} prompts were longer than the model takes; their beginning was cut`,
  ];
}
