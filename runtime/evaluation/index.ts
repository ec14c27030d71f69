export { EvaluationError } from "./errors.ts";
export { type Divergence, type Score, type ScoreOptions, scoreModels } from "./score.ts";
export { cutWindows, type Window } from "./windows.ts";
