// Perplexity of one or several models on the same windows and, against the first, KL divergence and top-1 agreement.
import { type F32, type I32, ops } from "../../kernels/index.ts";
import { KvCache } from "../cache/kv-cache.ts";
import { forward, type Model, Step } from "../model/index.ts";
import { EvaluationError } from "./errors.ts";
import type { Window } from "./windows.ts";

export type Score = {
  /** Tokens scored. */
  readonly tokens: number;
  /** exp of the mean negative log-likelihood per scored token. */
  readonly perplexity: number;
  /** Mean negative log-likelihood per scored token, in nats. */
  readonly loss: number;
  /** Against the first model; undefined for the first model itself. */
  readonly divergence: Divergence | undefined;
};

export type Divergence = {
  /** Mean over scored positions of KL(original ‖ this), in nats, over the whole output vocabulary. */
  readonly meanKl: number;
  /** 99th percentile and largest of the same. */
  readonly p99Kl: number;
  readonly maxKl: number;
  /** Share of scored positions where both models' most likely token is the same. */
  readonly top1: number;
};

export type ScoreOptions = {
  /** Rows computed together; bounds memory, changes no result. */
  readonly batchRows?: number;
  readonly signal?: AbortSignal;
  onProgress?(windowsDone: number, windows: number): void;
};

/** Logit rows at a time: at a vocabulary of 152k a row takes 0.6 MB per model and kind. */
const chunkRows = 128;
const defaultBatchRows = 2048;

class Tally {
  readonly losses: Float32Array[] = [];
  readonly divergences: Float32Array[] = [];
  agreements = 0;
}

/**
 * Scores every model on every window, window by window, so that all of them see the same positions.
 *
 * @param models  the original first
 * @throws EvaluationError EVALUATION_MISMATCH for models with different vocabularies, EVALUATION_TOO_SHORT without a window,
 *   EVALUATION_NOT_FINITE if a model's loss is not a number; KernelError; the signal's reason when aborted
 */
export async function scoreModels(
  models: readonly Model[],
  windows: readonly Window[],
  options: ScoreOptions = {},
): Promise<readonly Score[]> {
  checkComparable(models, windows);
  const length = windows[0]?.tokens.length ?? 1;
  const perBatch = Math.max(1, Math.floor((options.batchRows ?? defaultBatchRows) / length));
  const tallies = models.map(() => new Tally());
  for (let start = 0; start < windows.length; start += perBatch) {
    options.signal?.throwIfAborted();
    const batch = windows.slice(start, start + perBatch);
    const hiddens = models.map((model) => scoredRows(model, batch));
    const targets = Int32Array.from(
      batch.flatMap((window) => [...window.tokens.subarray(window.firstScored)]),
    );
    try {
      for (let row = 0; row < targets.length; row += chunkRows) {
        await scoreChunk(models, hiddens, targets.slice(row, row + chunkRows), { row, tallies });
      }
    } finally {
      for (const hidden of hiddens) hidden[Symbol.dispose]();
    }
    options.onProgress?.(start + batch.length, windows.length);
  }
  return tallies.map((tally, i) => summarize(tally, models[i]?.checkpoint.dir ?? "", i > 0));
}

function checkComparable(models: readonly Model[], windows: readonly Window[]): void {
  if (windows.length === 0) {
    throw new EvaluationError("EVALUATION_TOO_SHORT", "the text does not fill one window");
  }
  const [original] = models;
  for (const model of models) {
    if (original !== undefined && model.shape.vocabulary !== original.shape.vocabulary) {
      throw new EvaluationError(
        "EVALUATION_MISMATCH",
        `${model.checkpoint.dir} has a vocabulary of ${model.shape.vocabulary}, ${original.checkpoint.dir} one of ` +
          `${original.shape.vocabulary}; only models with the same tokens can be compared`,
      );
    }
  }
}

/** Residual stream [scored positions, width] of a batch: the rows whose next token counts. */
function scoredRows(model: Model, batch: readonly Window[]): F32 {
  const { device, shape } = model;
  const tokens = batch.reduce((sum, window) => sum + window.tokens.length, 0);
  // Nothing is decoded afterwards, so one layer's room serves all layers.
  const blockSize = 64;
  using cache = new KvCache(device, {
    ...shape,
    layers: 1,
    blockSize,
    tokens: tokens + batch.length * blockSize,
  });
  const parts = batch.map((window) => {
    const sequence = cache.open();
    cache.extend(sequence, window.tokens.length);
    const ropeBase = model.ropeBase(window.tokens.length);
    return { tokens: window.tokens, start: 0, blocks: sequence.blocks, ropeBase };
  });
  using step = new Step(device, parts, shape.headDim, (position) => model.queryScale(position));
  using hidden = forward(model, step, cache);
  let offset = 0;
  const rows = batch.flatMap((window) => {
    const scored = window.tokens.length - window.firstScored;
    const first = offset + window.firstScored - 1;
    offset += window.tokens.length;
    return Array.from({ length: scored }, (_, i) => first + i);
  });
  using index = device.from("i32", Int32Array.from(rows));
  return ops.gatherRows(hidden, index);
}

async function scoreChunk(
  models: readonly Model[],
  hiddens: readonly F32[],
  targets: Int32Array<ArrayBuffer>,
  state: { readonly row: number; readonly tallies: readonly Tally[] },
): Promise<void> {
  const logPs: F32[] = [];
  const bests: I32[] = [];
  try {
    for (const [i, model] of models.entries()) {
      using rows = (hiddens[i] as F32).narrow(0, state.row, targets.length);
      using logits = model.logits(rows);
      bests.push(ops.argmax(logits, model.shape.vocabulary));
      logPs.push(ops.logSoftmax(logits));
    }
    const originalBest = await bests[0]?.read();
    for (const [i, logP] of logPs.entries()) {
      const tally = state.tallies[i];
      const original = logPs[0];
      if (tally === undefined || original === undefined) continue;
      using index = logP.device.from("i32", targets);
      using picked = ops.pick(logP, index);
      tally.losses.push(await picked.read());
      if (i === 0) continue;
      using kl = ops.klDivergence(original, logP);
      tally.divergences.push(await kl.read());
      const best = await bests[i]?.read();
      best?.forEach((id, row) => {
        if (id === originalBest?.[row]) tally.agreements++;
      });
    }
  } finally {
    for (const tensor of [...logPs, ...bests]) tensor[Symbol.dispose]();
  }
}

function summarize(tally: Tally, dir: string, compared: boolean): Score {
  const tokens = tally.losses.reduce((sum, part) => sum + part.length, 0);
  const loss = -sumOf(tally.losses) / tokens;
  if (!Number.isFinite(loss)) {
    throw new EvaluationError(
      "EVALUATION_NOT_FINITE",
      `${dir}: the mean loss is ${loss}; some weight or activation of this model is not finite`,
    );
  }
  return {
    tokens,
    perplexity: Math.exp(loss),
    loss,
    divergence: compared ? summarizeDivergence(tally, tokens) : undefined,
  };
}

function summarizeDivergence(tally: Tally, tokens: number): Divergence {
  const sorted = Float32Array.from(tally.divergences.flatMap((part) => [...part])).sort();
  return {
    meanKl: sumOf(tally.divergences) / tokens,
    p99Kl: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    maxKl: sorted.at(-1) ?? 0,
    top1: tally.agreements / tokens,
  };
}

function sumOf(parts: readonly Float32Array[]): number {
  let sum = 0;
  for (const part of parts) for (const value of part) sum += value;
  return sum;
}
