import { ceval, cmmlu } from "./ceval.ts";
import { gsm8k } from "./gsm8k.ts";
import { humaneval } from "./humaneval.ts";
import { mmlu } from "./mmlu.ts";
import type { Task } from "./task.ts";
import { toolUse } from "./tool-use.ts";

/** In the order in which they are reported. */
export const tasks: readonly Task[] = [mmlu, ceval, cmmlu, gsm8k, humaneval, toolUse];

export { EngineAnswerer } from "./engine-answerer.ts";
export { openPythonSandbox, type PythonSandbox } from "./python-sandbox.ts";
export { type ItemResult, itemResult, runTask } from "./run-task.ts";
export { type MeasureResult, summarizeTask } from "./summary.ts";
export type {
  Answerer,
  LoadedTask,
  Measure,
  Query,
  Reply,
  Task,
  TaskItem,
  TaskMode,
  TaskOptions,
} from "./task.ts";
