// What each option of a recipe is worth: every variant with several draws of calibration data, on several texts.
//
//   node build/ts/test/bench/study/study.js MODEL --set options --bits 4 --seeds 1,2,3 --data FILE --text FILE --text FILE
//
// Prints a Markdown table; perplexity and KL are means over the draws, with the standard deviation between them.
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { loadSegments } from "../../../cli/calibration-data.ts";
import { openTokenizer } from "../../../cli/model-files.ts";
import { openDevice } from "../../../kernels/index.ts";
import { parseRecipe, quantizeModel, type Recipe } from "../../../quantizer/index.ts";
import { cutWindows, openModel, scoreModels } from "../../../runtime/index.ts";
import { sets, type Variant } from "./variants.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    set: { type: "string", default: "options" },
    only: { type: "string", default: "" },
    bits: { type: "string", default: "4" },
    group: { type: "string", default: "128" },
    seeds: { type: "string", default: "1,2,3" },
    samples: { type: "string", default: "128" },
    length: { type: "string", default: "512" },
    windows: { type: "string", default: "100000" },
    data: { type: "string", multiple: true, default: ["example"] },
    text: { type: "string", multiple: true, default: ["examples/evaluation.txt"] },
    json: { type: "string" },
  },
});
const [model = "examples/qwen-mini"] = positionals;
const work = join("build", "study");

type Measured = {
  readonly variant: string;
  readonly seed: number;
  readonly bits: number;
  readonly bitsPerWeight: number;
  readonly bytes: number;
  readonly seconds: number;
  /** By text. */
  readonly scores: readonly { readonly rise: number; readonly kl: number; readonly top1: number }[];
};

async function quantize(variant: Variant, seed: number): Promise<Omit<Measured, "scores">> {
  const output = directoryOf(variant, seed);
  rmSync(output, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  using device = openDevice({ threads: 2 });
  const segments = await loadSegments(
    {
      ...{ model, data: values.data, samples: Number(values.samples), seed },
      ...{ length: Number(values.length), tokens: "all", allowedSpecial: "all" },
    },
    device,
  );
  const recipe = parseRecipe({
    bits: Number(values.bits) as Recipe["bits"],
    groupSize: Number(values.group) as Recipe["groupSize"],
    ...variant.recipe,
  });
  const report = await quantizeModel({
    ...{ source: model, output, device, recipe, version: "study", overwrite: true },
    segments: segments.ids,
  });
  const { bitsPerWeight, tensorBytes, seconds } = report;
  return {
    variant: variant.name,
    seed,
    bits: recipe.bits,
    bitsPerWeight,
    bytes: tensorBytes,
    seconds,
  };
}

function directoryOf({ name }: Variant, seed: number): string {
  return join(work, `${name.replace(/\W+/g, "-")}-${values.bits}-${values.group}-${seed}`);
}

async function evaluate(directories: readonly string[], text: string) {
  using device = openDevice({ threads: 2 });
  const models = [model, ...directories].map((dir) => openModel(dir, device));
  const [original] = models;
  if (original === undefined) throw new RangeError("no model");
  using tokenizer = openTokenizer(original);
  const ids = tokenizer.encode(readFileSync(text, "utf8"));
  const windows = cutWindows(ids, { length: 512, stride: 512 }).slice(0, Number(values.windows));
  const scores = await scoreModels(models, windows);
  for (const each of models) each[Symbol.dispose]();
  return scores;
}

const meanOf = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;
const spreadOf = (xs: readonly number[]) =>
  Math.sqrt(xs.reduce((sum, x) => sum + (x - meanOf(xs)) ** 2, 0) / Math.max(1, xs.length - 1));

const variants = (sets[values.set] ?? []).filter(({ name }) => name.includes(values.only));
const seeds = values.seeds.split(",").map(Number);
const runs: { variant: Variant; seed: number; made: Omit<Measured, "scores"> }[] = [];
for (const seed of seeds) {
  for (const variant of variants) {
    runs.push({ variant, seed, made: await quantize(variant, seed) });
    process.stderr.write(`${variant.name} ${seed}: ${runs.at(-1)?.made.seconds.toFixed(1)} s\n`);
  }
}
const scores: Measured["scores"][number][][] = runs.map(() => []);
for (const text of values.text) {
  for (let first = 0; first < runs.length; first += 14) {
    const part = runs.slice(first, first + 14);
    const [original, ...rest] = await evaluate(
      part.map(({ variant, seed }) => directoryOf(variant, seed)),
      text,
    );
    if (first === 0) console.log(`${basename(text)}: BF16 ${original?.perplexity.toFixed(4)}`);
    for (const [i, { perplexity, divergence }] of rest.entries()) {
      scores[first + i]?.push({
        rise: perplexity - (original?.perplexity ?? Number.NaN),
        kl: divergence?.meanKl ?? Number.NaN,
        top1: divergence?.top1 ?? Number.NaN,
      });
    }
  }
}
const measured: Measured[] = runs.map(({ made }, i) => ({ ...made, scores: scores[i] ?? [] }));
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(measured));

const texts = values.text.map((text) => basename(text));
console.log(
  `| variant | bpw | MB | s |${texts.map((text) => ` ${text} ppl | KL e-3 | top-1 % |`).join("")}`,
);
console.log(`| --- | --- | --- | --- |${texts.map(() => " --- | --- | --- |").join("")}`);
for (const { name } of variants) {
  const own = measured.filter(({ variant }) => variant === name);
  const cells = texts.map((_, t) => {
    const of = (key: "rise" | "kl" | "top1") =>
      own.map((each) => each.scores[t]?.[key] ?? Number.NaN);
    const rise = `+${meanOf(of("rise")).toFixed(3)} ± ${spreadOf(of("rise")).toFixed(3)}`;
    const kl = `${(1e3 * meanOf(of("kl"))).toFixed(3)} ± ${(1e3 * spreadOf(of("kl"))).toFixed(3)}`;
    return ` ${rise} | ${kl} | ${(100 * meanOf(of("top1"))).toFixed(2)} |`;
  });
  const [first] = own;
  const seconds = meanOf(own.map((each) => each.seconds)).toFixed(1);
  const megabytes = ((first?.bytes ?? 0) / 1e6).toFixed(2);
  console.log(
    `| ${name} | ${first?.bitsPerWeight.toFixed(3)} | ${megabytes} | ${seconds} |${cells.join("")}`,
  );
}
void statSync;
