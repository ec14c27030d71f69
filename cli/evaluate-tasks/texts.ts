// The texts of `evaluate --tasks ppl,kl`: scores, how sure they are, and the tables of tokens.
import {
  divergenceInterval,
  perplexityDifference,
  perplexityInterval,
  type Score,
  type Window,
} from "../../runtime/index.ts";
import {
  describeProtocol,
  type Evaluation,
  type EvaluationRequest,
  evaluateModels,
} from "../evaluation.ts";
import type { TextModelResult, TextResult } from "../run-directory/format.ts";
import { tokenTable } from "../token-table.ts";

/**
 * @param keep  stores a table, and says under which name; tables are left out without
 */
export async function evaluateText(
  request: EvaluationRequest,
  context: Parameters<typeof evaluateModels>[1],
  keep: ((table: Uint8Array) => string) | undefined,
): Promise<TextResult> {
  const evaluation = await evaluateModels(request, context);
  const { protocol, scores, windows } = evaluation;
  const dirs = request.models.map(({ dir }) => dir);
  return {
    ...{ data: protocol.data, protocol: describeProtocol(evaluation) },
    ...{ window: protocol.window, stride: protocol.stride, windows: protocol.windows },
    scoredTokens: protocol.scoredTokens,
    tokens: keep === undefined ? "" : keep(await tokenTable(dirs, evaluation)),
    models: resultsOf(scores, windows),
  };
}

function resultsOf(
  scores: Evaluation["scores"],
  windows: readonly Window[],
): readonly TextModelResult[] {
  const [original] = scores;
  return scores.map((score, i) => ({
    perplexity: score.perplexity,
    ...(windows.length < 2 ? {} : { interval: perplexityInterval(score, windows) }),
    loss: score.loss,
    difference:
      i === 0 || original === undefined ? null : perplexityDifference(original, score, windows),
    divergence: divergenceOf(score, windows),
  }));
}

function divergenceOf(score: Score, windows: readonly Window[]): TextModelResult["divergence"] {
  const interval = divergenceInterval(score, windows);
  if (score.divergence === undefined || interval === undefined) return null;
  const { meanKl, p99Kl, maxKl, top1 } = score.divergence;
  return { meanKl, interval, p99Kl, maxKl, top1 };
}
