// Our default recipe beside AutoGPTQ's files on the same texts, calibrated on the same segments.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readSegmentsFile } from "../../calibration/index.ts";
import { openDevice } from "../../kernels/index.ts";
import {
  cutWindows,
  openModel,
  openQwenTokenizer,
  type Score,
  scoreModels,
} from "../../runtime/index.ts";
import { sharedPath } from "../support/shared.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { quantize, qwenMini } from "./quantized.ts";

export const subjects = ["bf16", "int4", "int4-autogptq", "int8", "int8-autogptq"] as const;
export type Scores = Readonly<Record<(typeof subjects)[number], Score>>;

/** What the comparison needs of the reference files, or undefined, having said so, where they are not at hand. */
export function referenceFiles():
  | { readonly segments: string; readonly models: string; readonly texts: string }
  | undefined {
  const segments = sharedPath("data", "calibration", "segments-128x512.safetensors");
  const models = sharedPath("models");
  const texts = sharedPath("data", "eval");
  if (segments === undefined || models === undefined || texts === undefined) return undefined;
  return { segments, models, texts };
}

/**
 * Quantizes the bundled model to int4 and int8 and scores it, both results and AutoGPTQ's files on the first windows of
 * each text: 512 tokens, each scored on its last 511.
 *
 * @param windows  by text, Infinity for all
 */
export async function scoreAgainstAutoGptq(
  windows: Readonly<Record<string, number>>,
): Promise<Readonly<Record<string, Scores>>> {
  const files = referenceFiles();
  if (files === undefined) throw new Error("the reference files are not at hand");
  const work = temporaryDirectory();
  try {
    using device = openDevice();
    const segments = readSegmentsFile(files.segments).ids;
    for (const bits of [4, 8] as const) {
      const output = join(work.path, `int${bits}`);
      await quantize({ output, segments, recipe: { bits }, device });
    }
    using tokenizer = openQwenTokenizer(qwenMini);
    const models = [
      qwenMini,
      join(work.path, "int4"),
      join(files.models, "qwen-mini-int4-autogptq"),
      join(work.path, "int8"),
      join(files.models, "qwen-mini-int8-autogptq"),
    ].map((dir) => openModel(dir, device));
    const result: Record<string, Scores> = {};
    for (const [text, count] of Object.entries(windows)) {
      const tokens = tokenizer.encode(readFileSync(join(files.texts, `${text}.txt`), "utf8"));
      const cut = cutWindows(tokens, { length: 512, stride: 512 }).slice(0, count);
      const scores = await scoreModels(models, cut);
      result[text] = Object.fromEntries(subjects.map((name, i) => [name, scores[i]])) as Scores;
      printScores(`${text}, ${cut.length} windows`, result[text]);
    }
    for (const model of models) model[Symbol.dispose]();
    return result;
  } finally {
    work.remove();
  }
}

function printScores(title: string, scores: Scores): void {
  const lines = subjects.map((name) => {
    const { perplexity, divergence } = scores[name];
    const against =
      divergence === undefined
        ? ""
        : `  KL ${divergence.meanKl.toExponential(4)}  p99 ${divergence.p99Kl.toExponential(2)}` +
          `  top-1 ${(100 * divergence.top1).toFixed(2)} %`;
    return `  ${name.padEnd(14)} perplexity ${perplexity.toFixed(4)}${against}`;
  });
  console.info([title, ...lines].join("\n"));
}
