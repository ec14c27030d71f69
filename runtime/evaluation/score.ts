// Perplexity of one or several models on the same windows and, against the first, KL divergence and top-1 agreement.
import { type F32, type I32, ops } from "../../kernels/index.ts";
import type { Model } from "../model/index.ts";
import { EvaluationError } from "./errors.ts";
import { type Pass, planPasses, runPasses } from "./window-passes.ts";
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
  /** Of each scored token, in the order of the windows. */
  readonly perToken: {
    /** Negative log-likelihoods, in nats. */
    readonly losses: Float32Array;
    /** KL(original ‖ this), in nats; undefined for the first model. */
    readonly divergences: Float32Array | undefined;
  };
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
  /** Tokens for which a model's weights are read once; bounds memory too, and changes no result either. */
  readonly roundTokens?: number;
  readonly signal?: AbortSignal | undefined;
  /** @param fraction  of the work, from 0 to 1 */
  onProgress?(fraction: number): void;
};

/** Logit rows at a time: at a vocabulary of 152k a row takes 0.6 MB per model and kind. */
const chunkRows = 128;
const defaultBatchRows = 2048;
/** Hidden states of a round: 134 MB per model at a width of 4096. */
const defaultRoundTokens = 8192;

class Tally {
  readonly losses: Float32Array[] = [];
  readonly divergences: Float32Array[] = [];
  agreements = 0;
}

/**
 * Scores every model on every window. Models take turns, some thousands of tokens at a time, and each goes through them block
 * by block: of the weights, one block and the output heads are in use at a time.
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
  const tallies = models.map(() => new Tally());
  const work = new Work(models, windows, (fraction) => options.onProgress?.(fraction));
  for (const round of roundsOf(windows, options.roundTokens ?? defaultRoundTokens)) {
    await scoreRound(models, planPasses(round, options.batchRows ?? defaultBatchRows), {
      ...{ signal: options.signal, tallies, work },
    });
  }
  return tallies.map((tally, i) => summarize(tally, models[i]?.checkpoint.dir ?? "", i > 0));
}

function roundsOf(windows: readonly Window[], roundTokens: number): readonly (readonly Window[])[] {
  const rounds: Window[][] = [];
  let tokens = Number.POSITIVE_INFINITY;
  for (const window of windows) {
    const { length } = window.tokens;
    if (tokens + length > roundTokens) {
      rounds.push([]);
      tokens = 0;
    }
    rounds.at(-1)?.push(window);
    tokens += length;
  }
  return rounds;
}

/** How much is done: a token through a block or the output head counts one. */
class Work {
  readonly #all: number;
  readonly #onProgress: (fraction: number) => void;
  #done = 0;

  constructor(
    models: readonly Model[],
    windows: readonly Window[],
    onProgress: (fraction: number) => void,
  ) {
    const tokens = windows.reduce((sum, window) => sum + window.tokens.length, 0);
    const scored = windows.reduce((sum, { firstScored, tokens: all }) => {
      return sum + all.length - firstScored;
    }, 0);
    this.#all = models.reduce((sum, { shape }) => sum + tokens * shape.layers + scored, 0);
    this.#onProgress = onProgress;
  }

  add(rows: number): void {
    this.#done += rows;
    this.#onProgress(this.#done / this.#all);
  }
}

type Round = {
  readonly signal: AbortSignal | undefined;
  readonly tallies: readonly Tally[];
  readonly work: Work;
};

async function scoreRound(
  models: readonly Model[],
  passes: readonly Pass[],
  { signal, tallies, work }: Round,
): Promise<void> {
  const hiddens: (readonly (F32 | undefined)[])[] = [];
  try {
    for (const model of models) {
      hiddens.push(await runPasses(model, passes, { signal, onRows: (rows) => work.add(rows) }));
    }
    for (const [i, { targets }] of passes.entries()) {
      const ofPass = hiddens.flatMap((hidden) => hidden[i] ?? []);
      for (let row = 0; row < targets.length; row += chunkRows) {
        signal?.throwIfAborted();
        const chunk = targets.slice(row, row + chunkRows);
        await scoreChunk(models, ofPass, chunk, { row, tallies });
        work.add(chunk.length * models.length);
      }
    }
    for (const model of models) model.evict("lm_head.");
  } finally {
    for (const tensor of hiddens.flat()) tensor?.[Symbol.dispose]();
  }
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
    perToken: {
      losses: joined(tally.losses).map((logP) => -logP),
      divergences: compared ? joined(tally.divergences) : undefined,
    },
  };
}

function summarizeDivergence(tally: Tally, tokens: number): Divergence {
  const sorted = joined(tally.divergences).sort();
  return {
    meanKl: sumOf(tally.divergences) / tokens,
    p99Kl: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    maxKl: sorted.at(-1) ?? 0,
    top1: tally.agreements / tokens,
  };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function sumOf(parts: readonly Float32Array[]): number {
  let sum = 0;
  for (const part of parts) for (const value of part) sum += value;
  return sum;
}
