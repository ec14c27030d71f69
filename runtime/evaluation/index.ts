export { EvaluationError } from "./errors.ts";
export {
  type PublishedBaseAccuracy,
  type PublishedChatAccuracy,
  type PublishedToolUse,
  publishedBaseAccuracies,
  publishedChatAccuracies,
  publishedToolUse,
} from "./published.ts";
export { type Divergence, type Score, type ScoreOptions, scoreModels } from "./score.ts";
export type { Interval, PairedDifference } from "./statistics.ts";
export {
  EngineAnswerer,
  type ItemResult,
  itemResult,
  type LoadedTask,
  type MeasureResult,
  openPythonSandbox,
  type PythonSandbox,
  type Query,
  runTask,
  summarizeTask,
  type Task,
  type TaskMode,
  type TaskOptions,
  tasks,
} from "./tasks/index.ts";
export { divergenceInterval, perplexityDifference, perplexityInterval } from "./text-statistics.ts";
export { cutWindows, type Window } from "./windows.ts";
