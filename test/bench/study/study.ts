// What each option of a recipe is worth: every variant with several draws of calibration data, on several texts, beside RTN,
// AutoGPTQ's results (compat) and llama.cpp's.
//
//   node build/ts/test/bench/study/study.js MODEL [--set main|options] [--bits 4] [--seeds 1,2,3] [--data FILE]… [--text FILE]…
//     [--llama TOOLS BACKENDS]
//
// Prints a Markdown table; `npm run bench -- study` builds what it needs.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { loadSegments } from "../../../cli/calibration-data.ts";
import { openTokenizer } from "../../../cli/model-files.ts";
import { openDevice } from "../../../kernels/index.ts";
import {
  collectStatistics,
  mixBits,
  parseRecipe,
  quantizeModel,
  type Recipe,
} from "../../../quantizer/index.ts";
import { cutWindows, openModel, type Score, scoreModels } from "../../../runtime/index.ts";
import { type LlamaTools, llamaFiles, llamaScore } from "./peers.ts";
import { type Measured, renderTable, type TextScore } from "./table.ts";
import { sets, type Variant } from "./variants.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    set: { type: "string", default: "main" },
    bits: { type: "string", default: "4" },
    group: { type: "string", default: "128" },
    seeds: { type: "string", default: "1,2,3" },
    samples: { type: "string", default: "128" },
    length: { type: "string", default: "512" },
    tokens: { type: "string", default: "all" },
    windows: { type: "string", default: "1000000" },
    data: { type: "string", multiple: true, default: ["example"] },
    text: { type: "string", multiple: true, default: ["examples/evaluation.txt"] },
    llama: { type: "string", multiple: true, default: [] },
    json: { type: "string" },
  },
});
const [model = "examples/qwen-mini"] = positionals;
const work = join("build", "study");
const scope = values.tokens === "assistant" ? "assistant" : "all";
/** Models scored in one pass over a text; bounds memory. */
const atOnce = 16;

type Run = {
  readonly directory: string;
  readonly head: Variant["head"];
  readonly made: Omit<Measured, "scores">;
};

async function quantize(variant: Variant, seed: number): Promise<Run> {
  const { name, preset, targetBpw: target } = variant;
  const directory = join(
    work,
    `${name.replace(/\W+/g, "-")}-${values.bits}-${values.group}-${seed}`,
  );
  rmSync(directory, { recursive: true, force: true });
  using device = openDevice({ threads: 2 });
  const segments = await loadSegments(
    {
      ...{ model, data: values.data, samples: Number(values.samples), seed },
      ...{ length: Number(values.length), tokens: scope, allowedSpecial: "all" },
    },
    device,
  );
  const bits = Number(values.bits) as Recipe["bits"];
  const groupSize = Number(values.group) as Recipe["groupSize"];
  const parsed = parseRecipe({ bits, groupSize, ...variant.recipe }, preset);
  const started = performance.now();
  const source = { source: model, segments: segments.ids, masks: segments.masks, device };
  const widths = [4, 8] as const;
  const mixed =
    target === undefined ? undefined : await mixBits(parsed, { ...source, target, widths });
  const statistics =
    variant.keepsStatistics === true ? join(work, "statistics.safetensors") : undefined;
  if (statistics !== undefined) await collectStatistics({ ...source, output: statistics });
  const report = await quantizeModel({
    ...{ ...source, output: directory, version: "study", recipe: mixed?.recipe ?? parsed },
    ...(statistics === undefined ? {} : { statistics, segments: [] }),
  });
  const { bitsPerWeight, tensorBytes: bytes } = report;
  const seconds = (performance.now() - started) / 1000;
  process.stderr.write(
    `${name}, ${segments.counted} tokens, seed ${seed}: ${seconds.toFixed(1)} s\n`,
  );
  return { directory, head: variant.head, made: { variant: name, bitsPerWeight, bytes, seconds } };
}

function readWindows(text: string): ReturnType<typeof cutWindows> {
  using device = openDevice({ threads: 1 });
  using original = openModel(model, device);
  using tokenizer = openTokenizer(original);
  const ids = tokenizer.encode(readFileSync(text, "utf8"));
  return cutWindows(ids, { length: 512, stride: 512 }).slice(0, Number(values.windows));
}

/** The original's score, then those of the directories. */
async function scoresOf(runs: readonly Run[], text: string): Promise<readonly Score[]> {
  using device = openDevice({ threads: 2 });
  const quantized = runs.map(({ directory, head }) =>
    openModel(directory, device, head === undefined ? {} : { head }),
  );
  const models = [openModel(model, device), ...quantized];
  const scores = await scoreModels(models, readWindows(text));
  for (const each of models) each[Symbol.dispose]();
  return scores;
}

async function scoreRuns(runs: readonly Run[], text: string): Promise<readonly TextScore[]> {
  const result: TextScore[] = [];
  for (let first = 0; first < runs.length; first += atOnce) {
    const part = runs.slice(first, first + atOnce);
    const [original, ...scores] = await scoresOf(part, text);
    const base = original?.perplexity ?? Number.NaN;
    if (first === 0) console.log(`${basename(text)}: float perplexity ${base.toFixed(4)}`);
    for (const { perplexity, divergence } of scores) {
      const { meanKl = Number.NaN, top1 = Number.NaN } = divergence ?? {};
      result.push({ rise: perplexity - base, kl: meanKl, top1 });
    }
  }
  return result;
}

async function scorePeers(tools: LlamaTools): Promise<readonly Measured[]> {
  using device = openDevice({ threads: 2 });
  using original = openModel(model, device);
  const measured: Measured[] = [];
  for (const [type, path] of llamaFiles(model, tools)) {
    const scores: TextScore[] = [];
    let facts = { bitsPerWeight: Number.NaN, bytes: 0 };
    for (const text of values.text) {
      const windows = readWindows(text);
      const [base] = await scoreModels([original], windows);
      const ids = windows.map(({ tokens }) => tokens);
      const { perplexity, kl, top1, ...rest } = await llamaScore(original, ids, path, tools);
      scores.push({ rise: perplexity - (base?.perplexity ?? Number.NaN), kl, top1 });
      facts = rest;
    }
    measured.push({ variant: `llama.cpp ${type}`, seconds: Number.NaN, ...facts, scores });
  }
  return measured;
}

const runs: Run[] = [];
for (const seed of values.seeds.split(",").map(Number)) {
  for (const variant of sets[values.set] ?? []) runs.push(await quantize(variant, seed));
}
const byText: (readonly TextScore[])[] = [];
for (const text of values.text) byText.push(await scoreRuns(runs, text));
const [directory, backends] = values.llama;
const peers =
  directory === undefined || backends === undefined
    ? []
    : await scorePeers({ directory, backends });
const measured: readonly Measured[] = [
  ...runs.map(({ made }, i) => ({
    ...made,
    scores: byText.map((scores) => scores[i] ?? { rise: Number.NaN, kl: Number.NaN, top1: 0 }),
  })),
  ...peers,
];
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(measured));
console.log(
  renderTable(
    measured,
    values.text.map((text) => basename(text).replace(/\.\w+$/, "")),
  ),
);
