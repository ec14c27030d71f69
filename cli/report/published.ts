// Where a report's figures meet those that a model's makers published.
import type { EvaluationRun } from "../run-directory/format.ts";

export type PublishedComparison = {
  /** Such as "MMLU, Qwen-1.8B-Chat, Int4" */
  readonly what: string;
  readonly published: number;
  /** Null if the run has no such figure */
  readonly measured: number | null;
  /** A page or paper */
  readonly source: string;
};

/** What was published of a run's models; empty for models that nothing is known of. */
export type PublishedLookup = (run: EvaluationRun) => readonly PublishedComparison[];
