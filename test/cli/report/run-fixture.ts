// A directory as `evaluate --output` leaves it: perplexities, losses and quantization reports are real, tasks and speeds made up.
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type EvaluatedModel, evaluateModels } from "../../../cli/evaluation.ts";
import type {
  Difference,
  EvaluationRun,
  RunModel,
  SampleResult,
  TaskResult,
  TextResult,
} from "../../../cli/run-directory/format.ts";
import { Output } from "../../../cli/terminal/output.ts";
import { tokenTable } from "../../../cli/token-table.ts";
import { openDevice } from "../../../kernels/index.ts";
import type { Interval } from "../../../runtime/index.ts";
import { generate, openModel, openQwenTokenizer } from "../../../runtime/index.ts";
import { bundledSegments, quantize, qwenMini } from "../../quantizer/quantized.ts";
import { seeded } from "../../support/random.ts";
import { evaluationText } from "../support.ts";

const prompts = ["It was a dark night, and", "Tom has 3 apples and buys 4 more. He", "春天来了，"];

/** Writes a run of the bundled model and two quantized copies of it, which are made in `work`. */
export async function writeRun(dir: string, work: string): Promise<EvaluationRun> {
  mkdirSync(dir, { recursive: true });
  const dirs = [qwenMini, join(work, "int8"), join(work, "int4")];
  const reports = await quantizeBoth(dirs, dir);
  const run: EvaluationRun = {
    ...{ format: 1, nibble: "0.1.0", command: "nibble evaluate qwen-mini int8 int4 --output run" },
    ...{ startedAt: "2026-11-28T23:40:25.000Z", seconds: 83.2 },
    machine: { cpu: "Some CPU @ 2.80GHz", threads: 2 },
    models: dirs.map((model, i) => describe(model, i, reports[i] ?? null)),
    texts: [
      await scoreText(dir, dirs, { stride: 256, maxTokens: 4096, tokens: "tokens-1.arrow" }),
      await scoreText(dir, dirs, { stride: 128, maxTokens: 1024, tokens: "tokens-2.arrow" }),
    ],
    tasks: [task("mmlu", 57, 570), task("gsm8k", 0, 200)],
    samples: await generateSamples(dirs),
  };
  writeRunJson(dir, run);
  return run;
}

export function writeRunJson(dir: string, run: unknown): void {
  writeFileSync(join(dir, "run.json"), JSON.stringify(run, undefined, 2));
}

async function quantizeBoth(
  dirs: readonly string[],
  dir: string,
): Promise<readonly (string | null)[]> {
  const names: (string | null)[] = [null];
  using device = openDevice({ threads: 2 });
  for (const [i, bits] of [8, 4].entries()) {
    const output = dirs[i + 1]!;
    const segments = bundledSegments(4, 128);
    await quantize({ output, segments, recipe: { method: "rtn", bits: bits as 8 | 4 }, device });
    const copy = `int${bits}-report.json`;
    copyFileSync(join(output, "report.json"), join(dir, copy));
    names.push(copy);
  }
  return names;
}

function describe(dir: string, i: number, quantizationReport: string | null): RunModel {
  const bits = [16, 8, 4][i] ?? 16;
  return {
    ...{ name: ["qwen-mini", "int8", "int4"][i] ?? "", dir, quantizationReport },
    weightBytes: [17_853_528, 11_400_000, 8_300_000][i] ?? 0,
    bitsPerWeight: i === 0 ? 16 : bits + 0.16,
    scheme: i === 0 ? null : `int${bits} g128`,
    speed: { tokensPerSecond: [181.2, 244.8, 301.5][i] ?? 0, peakBytes: [148, 139, 131][i]! * 1e6 },
  };
}

type Cut = { readonly stride: number; readonly maxTokens: number; readonly tokens: string };

async function scoreText(
  dir: string,
  dirs: readonly string[],
  { stride, maxTokens, tokens }: Cut,
): Promise<TextResult> {
  const request = {
    models: dirs.map((model): EvaluatedModel => ({ dir: model })),
    ...{ data: evaluationText, window: 256, stride, maxTokens },
    allowedSpecial: "all" as const,
    longContext: {},
  };
  using device = openDevice({ threads: 2 });
  const context = {
    device,
    output: new Output({ quiet: true }),
    signal: new AbortController().signal,
  };
  const evaluation = await evaluateModels(request, context);
  const { protocol, scores } = evaluation;
  writeFileSync(join(dir, tokens), await tokenTable(dirs, evaluation));
  const base = scores[0]!.perToken.losses;
  return {
    ...{ data: evaluationText, protocol: "tokenized whole, cut into windows without overlap" },
    ...{ window: protocol.window, stride: protocol.stride, windows: protocol.windows },
    ...{ scoredTokens: protocol.scoredTokens, tokens },
    models: scores.map(({ perplexity, loss, divergence, perToken }, i) => ({
      ...{ perplexity, loss },
      difference:
        i === 0 ? null : perplexityDifference(perToken.losses, base, scores[0]!.perplexity),
      divergence:
        divergence === undefined
          ? null
          : { ...divergence, interval: around(divergence.meanKl, 0.1) },
    })),
  };
}

/** Of perplexity, by the normal approximation to the mean difference of losses. */
function perplexityDifference(losses: Float32Array, base: Float32Array, from: number): Difference {
  const all = Array.from(losses, (loss, i) => loss - base[i]!);
  const mean = all.reduce((sum, one) => sum + one, 0) / all.length;
  const variance = all.reduce((sum, one) => sum + (one - mean) ** 2, 0) / all.length;
  const error = 1.96 * Math.sqrt(variance / all.length);
  const change = (nats: number) => from * Math.expm1(nats);
  const interval = { low: change(mean - error), high: change(mean + error) };
  const isNoise = interval.low <= 0 && interval.high >= 0;
  const method = "paired bootstrap over windows";
  return { value: change(mean), interval, pValue: null, method, isNoise };
}

function around(value: number, share: number): Interval {
  return { low: value * (1 - share), high: value * (1 + share) };
}

function task(name: string, categories: number, items: number): TaskResult {
  const random = seeded(name.length);
  const scores = [0.46, 0.458, 0.41];
  const half = 1.96 * Math.sqrt(0.25 / items);
  return {
    ...{
      task: name,
      title: `${name.toUpperCase()}, 5-shot`,
      metric: "accuracy, mean over questions",
    },
    ...{
      items,
      data: `data/${name}`,
      notes: ["10 questions of each subject, fewer than published"],
    },
    answers: [],
    models: scores.map((score, i) => ({
      ...{ score, interval: { low: score - half, high: score + half } },
      categories: Array.from({ length: categories }, (_, category) => ({
        ...{ name: `subject ${category + 1}`, items: 10 },
        score: Math.round(10 * (0.2 + 0.6 * random())) / 10,
      })),
      difference:
        i === 0
          ? null
          : {
              ...{ value: score - 0.46, pValue: i === 1 ? 0.88 : 0.0004, isNoise: i === 1 },
              interval: { low: score - 0.46 - 0.02, high: score - 0.46 + 0.02 },
              method: "McNemar's exact test",
            },
    })),
  };
}

async function generateSamples(dirs: readonly string[]): Promise<readonly SampleResult[]> {
  using tokenizer = openQwenTokenizer(qwenMini);
  const outputs: { readonly pieces: readonly string[] }[][] = prompts.map(() => []);
  using device = openDevice({ threads: 2 });
  for (const dir of dirs) {
    using model = openModel(dir, device);
    for (const [i, prompt] of prompts.entries()) {
      const pieces: string[] = [];
      const request = {
        ...{
          prompt: tokenizer.encode(prompt),
          maxNewTokens: 48,
          allowed: tokenizer.vocabularySize,
        },
        sampling: greedy,
      };
      for await (const id of generate(model, request)) pieces.push(tokenizer.decode([id]));
      outputs[i]!.push({ pieces });
    }
  }
  return prompts.map((prompt, i) => ({ prompt, outputs: outputs[i]! }));
}

const greedy = {
  ...{ temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 },
  ...{ repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 },
} as const;
