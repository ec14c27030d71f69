// What `evaluate --output RUN` leaves in a directory and `report RUN` reads: run.json, with tables and copies beside it.
import { z } from "zod";
import type { Interval, MeasureResult, PairedDifference } from "../../runtime/index.ts";

/** Against the first model. */
export type Difference = PairedDifference;

export type RunModel = {
  /** Short and unique within the run */
  readonly name: string;
  readonly dir: string;
  /** Of weight files */
  readonly weightBytes: number;
  /** Of the quantized linears, scales and zeros included; 16 for a float model, null where unknown */
  readonly bitsPerWeight: number | null;
  /** Such as "int4 g128, act-order with static groups"; null for a float model */
  readonly scheme: string | null;
  /** A copy of the model's report.json, relative to the run's directory; null without one */
  readonly quantizationReport: string | null;
  /** Greedy decoding of one sequence in a process of its own; null if not measured */
  readonly speed: { readonly tokensPerSecond: number; readonly peakBytes: number } | null;
};

export type TextModelResult = {
  readonly perplexity: number;
  /** Of the perplexity; absent where there are too few windows to tell */
  readonly interval?: Interval | undefined;
  readonly loss: number;
  /** Null for the first model, as is `divergence`. Of perplexity. */
  readonly difference: Difference | null;
  readonly divergence: {
    readonly meanKl: number;
    readonly interval: Interval;
    readonly p99Kl: number;
    readonly maxKl: number;
    readonly top1: number;
  } | null;
};

export type TextResult = {
  /** As it was given */
  readonly data: string;
  readonly protocol: string;
  readonly window: number;
  readonly stride: number;
  readonly windows: number;
  readonly scoredTokens: number;
  /** Each scored token's losses and divergences (cli/token-table.ts), relative to the run's directory */
  readonly tokens: string;
  /** In the order of the run's models */
  readonly models: readonly TextModelResult[];
};

/** Of one model; the score is from 0 to 1, larger is better unless the metric says otherwise. */
export type TaskModelResult = MeasureResult["models"][number];

export type TaskResult = {
  /** Such as "mmlu" */
  readonly task: string;
  /** Such as "MMLU, 5-shot" */
  readonly title: string;
  /** Such as "accuracy, mean over questions" */
  readonly metric: string;
  readonly items: number;
  /** Directory or file the items came from */
  readonly data: string;
  /** What a reader must know, such as that fewer items than published were used */
  readonly notes: readonly string[];
  /** Prompt, answer and score of each item by model, JSON lines, relative to the run's directory */
  readonly answers: readonly string[];
  readonly models: readonly TaskModelResult[];
};

/** A task whose answers were not judged. */
export type UnscoredTask = Omit<TaskResult, "models" | "metric">;

export type SampleResult = {
  readonly prompt: string;
  /** Pieces of text by token, in the order of the run's models */
  readonly outputs: readonly { readonly pieces: readonly string[] }[];
};

export type EvaluationRun = {
  readonly format: 1;
  /** Version of the program */
  readonly nibble: string;
  readonly command: string;
  /** ISO 8601 */
  readonly startedAt: string;
  readonly seconds: number;
  readonly machine: {
    readonly cpu: string;
    readonly threads: number;
    /** What computed, where it was not the processor */
    readonly gpu?: string | undefined;
  };
  /** The original first */
  readonly models: readonly RunModel[];
  readonly texts: readonly TextResult[];
  readonly tasks: readonly TaskResult[];
  /** Absent if there is none */
  readonly unscored?: readonly UnscoredTask[] | undefined;
  readonly samples: readonly SampleResult[];
};

const interval: z.ZodType<Interval> = z.object({ low: z.number(), high: z.number() });
const difference: z.ZodType<Difference> = z.object({
  ...{ value: z.number(), interval, pValue: z.number().nullable() },
  ...{ method: z.string(), isNoise: z.boolean() },
});
const runModel: z.ZodType<RunModel> = z.object({
  ...{ name: z.string(), dir: z.string(), weightBytes: z.number() },
  ...{ bitsPerWeight: z.number().nullable(), scheme: z.string().nullable() },
  quantizationReport: z.string().nullable(),
  speed: z.object({ tokensPerSecond: z.number(), peakBytes: z.number() }).nullable(),
});
const divergence = z.object({
  ...{ meanKl: z.number(), interval, p99Kl: z.number(), maxKl: z.number(), top1: z.number() },
});
/** Of a text, which is kept by itself until the run is complete. */
export const textResult: z.ZodType<TextResult> = z.object({
  ...{ data: z.string(), protocol: z.string(), window: z.number(), stride: z.number() },
  ...{ windows: z.number(), scoredTokens: z.number(), tokens: z.string() },
  models: z.array(
    z.object({
      ...{ perplexity: z.number(), interval: interval.optional(), loss: z.number() },
      ...{ difference: difference.nullable(), divergence: divergence.nullable() },
    }),
  ),
});
const category = z.object({ name: z.string(), score: z.number(), items: z.number() });
const questions = {
  ...{ task: z.string(), title: z.string(), items: z.number() },
  ...{ data: z.string(), notes: z.array(z.string()), answers: z.array(z.string()) },
};
const unscored: z.ZodType<UnscoredTask> = z.object(questions);
const task: z.ZodType<TaskResult> = z.object({
  ...questions,
  metric: z.string(),
  models: z.array(
    z.object({
      ...{ score: z.number(), interval, categories: z.array(category) },
      difference: difference.nullable(),
    }),
  ),
});
const sample: z.ZodType<SampleResult> = z.object({
  prompt: z.string(),
  outputs: z.array(z.object({ pieces: z.array(z.string()) })),
});

const machine = z.object({
  cpu: z.string(),
  threads: z.number(),
  gpu: z.string().optional(),
});

/** Of run.json. */
export const evaluationRun: z.ZodType<EvaluationRun> = z.object({
  ...{ format: z.literal(1), nibble: z.string(), command: z.string(), startedAt: z.string() },
  ...{ seconds: z.number(), machine },
  ...{ models: z.array(runModel), texts: z.array(textResult), tasks: z.array(task) },
  ...{ unscored: z.array(unscored).optional(), samples: z.array(sample) },
});
