// Perplexity by context length, with the two techniques for contexts beyond the trained length on and off.

import type { Device } from "../kernels/index.ts";
import { cutWindows, type LongContext, openModel, scoreModels } from "../runtime/index.ts";
import type { AllowedSpecial } from "./arguments.ts";
import { InputError } from "./errors.ts";
import { checkSameTokenizer, readTokens } from "./evaluation.ts";
import { describeUnused } from "./model-files.ts";
import { formatCount, wrapText } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { type Column, formatTable } from "./terminal/table.ts";

/** Which settings of a switch are compared. */
export type Switch = readonly boolean[];

export type LengthRequest = {
  readonly models: readonly string[];
  readonly data: string;
  readonly lengths: readonly number[];
  readonly dynamicNtk: Switch;
  readonly logn: Switch;
  readonly maxTokens: number | undefined;
  readonly allowedSpecial: AllowedSpecial;
};

export type LengthEvaluation = {
  readonly protocol: {
    readonly data: string;
    readonly textTokens: number;
    readonly lengths: readonly {
      readonly length: number;
      readonly windows: number;
      readonly scoredTokens: number;
      readonly droppedTokens: number;
    }[];
  };
  readonly models: readonly {
    readonly model: string;
    readonly trainedLength: number;
    readonly variants: readonly Variant[];
  }[];
};

export type Variant = LongContext & {
  /** Whether config.json has it so. */
  readonly isConfigured: boolean;
  readonly scores: readonly {
    readonly length: number;
    readonly perplexity: number;
    /** Mean negative log-likelihood per scored token, in nats. */
    readonly loss: number;
  }[];
};

type Context = {
  readonly device: Device;
  readonly output: Output;
  readonly signal: AbortSignal;
};

/**
 * Scores each model at each length with each combination of switches. For every length the text is cut into windows of that
 * length without overlap; all tokens of a window but its first are scored.
 */
export async function evaluateLengths(
  request: LengthRequest,
  context: Context,
): Promise<LengthEvaluation> {
  const { models, data, lengths } = request;
  checkSameTokenizer(models);
  const tokens = readTokensOf(request, context);
  const longest = Math.max(...lengths);
  if (tokens.length < longest) {
    throw new InputError(
      `${data}: ${tokens.length} tokens do not fill a window of ${longest} (--lengths); use a longer text or smaller lengths`,
    );
  }
  using progress = context.output.progress();
  const results: LengthEvaluation["models"][number][] = [];
  for (const [i, model] of models.entries()) {
    const onProgress = (fraction: number) => progress.update(model, (i + fraction) / models.length);
    const scored = await scoreModel(model, tokens, { request, context, onProgress });
    results.push(scored);
  }
  return {
    protocol: {
      ...{ data, textTokens: tokens.length },
      lengths: lengths.map((length) => {
        const windows = Math.floor(tokens.length / length);
        const droppedTokens = tokens.length - windows * length;
        return { length, windows, scoredTokens: windows * (length - 1), droppedTokens };
      }),
    },
    models: results,
  };
}

function readTokensOf(request: LengthRequest, { device, output }: Context): Int32Array {
  let tokens: Int32Array | undefined;
  for (const dir of request.models) {
    using model = openModel(dir, device);
    const unused = describeUnused(model);
    if (unused !== undefined) output.note(unused);
    tokens ??= readTokens(request, model);
  }
  if (tokens === undefined) throw new RangeError("no model to evaluate");
  return tokens;
}

async function scoreModel(
  dir: string,
  tokens: Int32Array,
  run: {
    readonly request: LengthRequest;
    readonly context: Context;
    onProgress(fraction: number): void;
  },
): Promise<LengthEvaluation["models"][number]> {
  const { request, context, onProgress } = run;
  const { device, signal } = context;
  const { configured, trainedLength } = describeModel(dir, device);
  const settings = request.dynamicNtk.flatMap((dynamicNtk) =>
    request.logn.map((logn): LongContext => ({ dynamicNtk, logn })),
  );
  const jobs = settings.flatMap((setting) =>
    request.lengths.map((length) => ({ setting, length })),
  );
  // Up to the trained length neither changes anything.
  const known = new Map<string, Variant["scores"][number]>();
  const scores: Variant["scores"][number][] = [];
  for (const [i, { setting, length }] of jobs.entries()) {
    const key = length <= trainedLength ? `${length}` : JSON.stringify({ ...setting, length });
    let score = known.get(key);
    if (score === undefined) {
      using model = openModel(dir, device, { longContext: setting });
      const windows = cutWindows(tokens, { length, stride: length });
      const [scored] = await scoreModels([model], windows, {
        signal,
        onProgress: (fraction) => onProgress((i + fraction) / jobs.length),
      });
      const { perplexity = Number.NaN, loss = Number.NaN } = scored ?? {};
      score = { length, perplexity, loss };
      known.set(key, score);
    }
    scores.push(score);
  }
  const perVariant = request.lengths.length;
  const variants = settings.map((setting, i) => ({
    ...setting,
    isConfigured: setting.dynamicNtk === configured.dynamicNtk && setting.logn === configured.logn,
    scores: scores.slice(i * perVariant, (i + 1) * perVariant),
  }));
  return { model: dir, trainedLength, variants };
}

function describeModel(
  dir: string,
  device: Device,
): { configured: LongContext; trainedLength: number } {
  using model = openModel(dir, device);
  return { configured: model.longContext, trainedLength: model.shape.trainedLength };
}

/** A table per model, and how its numbers came about. */
export function renderLengths(
  { protocol, models }: LengthEvaluation,
  { colors, tableStyle, width }: Output,
): string {
  const words =
    `${protocol.data}, tokenized whole: ${formatCount(protocol.textTokens)} tokens; for each length windows of that length, ` +
    "no overlap, all tokens but a window's first scored, a tail that fills none dropped; NTK factor by the window's length";
  const lines = wrapText(words, width).map((line) => colors.dim(line));
  const tables = models.map(({ model, trainedLength, variants }) => {
    const lengths = protocol.lengths.map(({ length }) => formatCount(length));
    const columns: readonly Column[] = [
      { header: "NTK", align: "left" },
      { header: "LogN", align: "left" },
      ...lengths.map((header): Column => ({ header, align: "right" })),
      { header: "", align: "left" },
    ];
    const rows = variants.map(({ dynamicNtk, logn, isConfigured, scores }) => [
      dynamicNtk ? "on" : "off",
      logn ? "on" : "off",
      ...scores.map(({ perplexity }) => perplexity.toFixed(4)),
      isConfigured ? "as in config.json" : "",
    ]);
    const title = `${model}: perplexity by context length (trained on ${formatCount(trainedLength)})`;
    return `${title}\n${formatTable(columns, rows, tableStyle)}`;
  });
  return [lines.join("\n"), ...tables].join("\n\n");
}
