// Accuracies that Qwen's model cards give, in percent, to set measured ones beside.

/** MMLU and C-Eval (val) 0-shot, GSM8K 0-shot, HumanEval 0-shot, of a chat model. */
export type PublishedChatAccuracy = {
  readonly model: string;
  readonly precision: "FP32" | "BF16" | "Int8" | "Int4";
  readonly mmlu: number;
  readonly ceval: number;
  readonly gsm8k: number;
  readonly humaneval: number;
};

/** MMLU, C-Eval and CMMLU 5-shot, GSM8K 8-shot, HumanEval 0-shot, of a base model in BF16. */
export type PublishedBaseAccuracy = {
  readonly model: string;
  readonly mmlu: number;
  readonly ceval: number;
  readonly gsm8k: number;
  readonly humaneval: number;
  readonly cmmlu: number;
};

/** Tool use in ReAct form, Chinese benchmark of 2023-12-06: percent, Rouge-L, percent. */
export type PublishedToolUse = {
  readonly model: string;
  readonly selection: number;
  readonly input: number;
  readonly falsePositive: number;
};

type Four = readonly [mmlu: number, ceval: number, gsm8k: number, humaneval: number];

const chat = (
  model: string,
  rows: Readonly<Partial<Record<PublishedChatAccuracy["precision"], Four>>>,
): readonly PublishedChatAccuracy[] =>
  Object.entries(rows).map(([precision, [mmlu, ceval, gsm8k, humaneval]]) => ({
    ...{ model, mmlu, ceval, gsm8k, humaneval },
    precision: precision as PublishedChatAccuracy["precision"],
  }));

/** @see https://github.com/QwenLM/Qwen#quantization */
export const publishedChatAccuracies: readonly PublishedChatAccuracy[] = [
  ...chat("Qwen-1.8B-Chat", {
    FP32: [43.4, 57.0, 33.0, 26.8],
    BF16: [43.3, 55.6, 33.7, 26.2],
    Int8: [43.1, 55.8, 33.0, 27.4],
    Int4: [42.9, 52.8, 31.2, 25.0],
  }),
  ...chat("Qwen-7B-Chat", {
    BF16: [55.8, 59.7, 50.3, 37.2],
    Int8: [55.4, 59.4, 48.3, 34.8],
    Int4: [55.1, 59.2, 49.7, 29.9],
  }),
  ...chat("Qwen-14B-Chat", {
    BF16: [64.6, 69.8, 60.1, 43.9],
    Int8: [63.6, 68.6, 60.0, 48.2],
    Int4: [63.3, 69.0, 59.8, 45.7],
  }),
  ...chat("Qwen-72B-Chat", {
    BF16: [74.4, 80.1, 76.4, 64.6],
    Int8: [73.5, 80.1, 73.5, 62.2],
    Int4: [73.4, 80.1, 75.3, 61.6],
  }),
];

/** @see https://github.com/QwenLM/Qwen#performance */
export const publishedBaseAccuracies: readonly PublishedBaseAccuracy[] = [
  { model: "Qwen-1.8B", mmlu: 45.3, ceval: 56.1, gsm8k: 32.3, humaneval: 15.2, cmmlu: 52.1 },
  { model: "Qwen-7B", mmlu: 58.2, ceval: 63.5, gsm8k: 51.7, humaneval: 29.9, cmmlu: 62.2 },
  { model: "Qwen-14B", mmlu: 66.3, ceval: 72.1, gsm8k: 61.3, humaneval: 32.3, cmmlu: 71.0 },
  { model: "Qwen-72B", mmlu: 77.4, ceval: 83.3, gsm8k: 78.9, humaneval: 35.4, cmmlu: 83.6 },
];

/** @see https://github.com/QwenLM/Qwen#tool-usage */
export const publishedToolUse: readonly PublishedToolUse[] = [
  { model: "Qwen-1.8B-Chat", selection: 85.0, input: 0.839, falsePositive: 27.6 },
  { model: "Qwen-7B-Chat", selection: 95.5, input: 0.9, falsePositive: 11.6 },
  { model: "Qwen-14B-Chat", selection: 96.9, input: 0.917, falsePositive: 5.6 },
  { model: "Qwen-72B-Chat", selection: 98.2, input: 0.927, falsePositive: 1.1 },
];
