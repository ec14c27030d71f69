// Several models on the same text, for `evaluate` and `demo`.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ActivationDtype, Device } from "../kernels/index.ts";
import {
  type CacheDtype,
  cutWindows,
  type HeadMode,
  type LongContext,
  type Model,
  openModel,
  type Score,
  scoreModels,
  type Window,
} from "../runtime/index.ts";
import type { AllowedSpecial } from "./arguments.ts";
import { InputError, UsageError } from "./errors.ts";
import { describeUnused, openTokenizer } from "./model-files.ts";
import { formatCount, plural } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";

/** How a model computes, where it is not as well as can be. */
export type EvaluatedArithmetic = {
  readonly head?: HeadMode;
  readonly activations?: ActivationDtype;
  readonly kvCache?: CacheDtype;
};

export type EvaluatedModel = { readonly dir: string; readonly arithmetic?: EvaluatedArithmetic };

export type EvaluationRequest = {
  /** The original first. */
  readonly models: readonly EvaluatedModel[];
  readonly data: string;
  readonly window: number;
  readonly stride: number;
  /** Only the text's first tokens. */
  readonly maxTokens: number | undefined;
  /** Control tokens to read as such in the text. */
  readonly allowedSpecial: AllowedSpecial;
  /** In the place of what the config.json files say. */
  readonly longContext: Partial<LongContext>;
  /** What the protocol says of every model but the first, or of the only one. */
  readonly arithmetic?: EvaluatedArithmetic;
};

export type Protocol = EvaluatedArithmetic & {
  readonly data: string;
  readonly window: number;
  readonly stride: number;
  readonly windows: number;
  readonly textTokens: number;
  readonly scoredTokens: number;
  /** Tokens at the end that fill no window. */
  readonly droppedTokens: number;
  /** What was set in the place of config.json's; absent if nothing was. */
  readonly longContext?: Partial<LongContext>;
};

export type Evaluation = {
  readonly protocol: Protocol;
  readonly scores: readonly Score[];
  readonly windows: readonly Window[];
};

export async function evaluateModels(
  request: EvaluationRequest,
  context: { readonly device: Device; readonly output: Output; readonly signal: AbortSignal },
): Promise<Evaluation> {
  const { window, stride } = request;
  using models = new OpenModels(request, context.device);
  checkSameTokenizer(request.models.map(({ dir }) => dir));
  for (const model of models.all) {
    checkWindow(model, window);
    const unused = describeUnused(model);
    if (unused !== undefined) context.output.note(unused);
  }
  const [original] = models.all;
  if (original === undefined) throw new RangeError("no model to evaluate");
  const tokens = readTokens(request, original);
  const windows = cutWindows(tokens, { length: window, stride });
  if (tokens.length < 2) {
    throw new InputError(
      `${request.data}: ${plural(tokens.length, "token")} leave nothing to predict; give a longer text`,
    );
  }
  if (windows.length === 0) {
    throw new InputError(
      `${request.data}: ${tokens.length} tokens do not fill one window of ${window}; use a smaller --window`,
    );
  }
  const scored = windows.reduce((sum, { firstScored }) => sum + window - firstScored, 0);
  using progress = context.output.progress(scored * models.all.length);
  const scores = await scoreModels(models.all, windows, {
    signal: context.signal,
    onProgress: (fraction) => progress.update("evaluating", fraction),
  });
  const covered = window + (windows.length - 1) * stride;
  return {
    protocol: {
      ...{ data: request.data, window, stride, windows: windows.length },
      textTokens: tokens.length,
      scoredTokens: scored,
      droppedTokens: tokens.length - covered,
      ...(Object.keys(request.longContext).length === 0
        ? {}
        : { longContext: request.longContext }),
      ...request.arithmetic,
    },
    ...{ scores, windows },
  };
}

/** How the numbers came about, in words. */
export function describeProtocol({
  protocol,
  scores,
}: Pick<Evaluation, "protocol" | "scores">): string {
  const except = scores.length === 1 ? "" : ", except of the first model";
  const { data, window, stride, textTokens, scoredTokens, droppedTokens } = protocol;
  const overlap = stride === window ? "no overlap" : `a stride of ${stride}`;
  return [
    `${data}, tokenized whole: ${formatCount(textTokens)} tokens`,
    `windows of ${window}, ${overlap}`,
    `${formatCount(scoredTokens)} tokens scored`,
    `tail of ${formatCount(droppedTokens)} dropped`,
    ...describeLongContext(protocol.longContext ?? {}),
    ...(protocol.head === undefined ? [] : [`${protocol.head} head${except}`]),
    ...(protocol.activations === undefined ? [] : [`${protocol.activations} activations${except}`]),
    ...(protocol.kvCache === undefined ? [] : [`${protocol.kvCache} keys and values${except}`]),
  ].join("; ");
}

function describeLongContext({ dynamicNtk, logn }: Partial<LongContext>): readonly string[] {
  const setting = (what: string, isOn: boolean | undefined) =>
    isOn === undefined ? [] : [`${what} ${isOn ? "on" : "off"}`];
  return [...setting("dynamic NTK", dynamicNtk), ...setting("LogN", logn)];
}

class OpenModels implements Disposable {
  readonly all: Model[] = [];

  constructor({ models, longContext }: EvaluationRequest, device: Device) {
    try {
      for (const { dir, arithmetic } of models) {
        this.all.push(openModel(dir, device, { longContext, ...arithmetic }));
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const model of this.all) model[Symbol.dispose]();
  }
}

/** Perplexities over different tokens cannot be compared. */
export function checkSameTokenizer(dirs: readonly string[]): void {
  const files = dirs.map((dir) => join(dir, "qwen.tiktoken"));
  const [first = "", ...others] = files;
  const expected = readInput(first);
  for (const file of others) {
    if (readInput(file).equals(expected)) continue;
    throw new InputError(
      `${file} is not the tokenizer ${first}: only models with the same tokens can be compared`,
    );
  }
}

function checkWindow(model: Model, window: number): void {
  const { maxLength } = model.shape;
  if (window <= maxLength) return;
  throw new UsageError(
    `--window ${window}: ${model.checkpoint.dir} takes at most ${maxLength} tokens`,
  );
}

/** @param original  whose tokenizer it is */
export function readTokens(
  {
    data,
    maxTokens,
    allowedSpecial,
  }: Pick<EvaluationRequest, "data" | "maxTokens" | "allowedSpecial">,
  original: Model,
): Int32Array {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(readInput(data));
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError(`${data}: not a text file; expected UTF-8`, { cause });
  }
  using tokenizer = openTokenizer(original);
  return tokenizer.encode(text, { allowedSpecial }).subarray(0, maxTokens);
}

function readInput(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new InputError(`${path}: cannot be read: ${reason}`, { cause });
  }
}
