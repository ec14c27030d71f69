// A run's directory, read whole before anything is written.
import { statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { InputError } from "../errors.ts";
import { type EvaluationRun, evaluationRun } from "../run-directory/format.ts";
import { readInput, readJson } from "../run-directory/read-json.ts";
import { type QuantizationCopy, quantizationCopy } from "./quantization-copy.ts";
import { readTokenColumns, type TokenColumns } from "./token-columns.ts";

export type RunFiles = {
  readonly run: EvaluationRun;
  /** By model; undefined without one */
  readonly quantizations: readonly (QuantizationCopy | undefined)[];
  /** By text */
  readonly tokens: readonly TokenColumns[];
};

const howToMakeOne = "nibble evaluate MODEL… --tasks ppl,kl --data FILE --output RUN makes one";

/** @throws InputError naming the file that is missing or wrong */
export async function readRun(dir: string): Promise<RunFiles> {
  const file = join(dir, "run.json");
  requireDirectory(dir);
  const run = readJson(file, evaluationRun, howToMakeOne);
  checkCounts(file, run);
  const quantizations = run.models.map(({ quantizationReport }) =>
    quantizationReport === null
      ? undefined
      : readJson(
          inside(dir, quantizationReport),
          quantizationCopy,
          `${file} says that it is a copy of a model's report.json`,
        ),
  );
  const tokens: TokenColumns[] = [];
  for (const { tokens: name } of run.texts) {
    const path = inside(dir, name);
    tokens.push(
      await readTokenColumns(
        path,
        readInput(path, "the run is incomplete: evaluate again"),
        run.models.length,
      ),
    );
  }
  return { run, quantizations, tokens };
}

function requireDirectory(dir: string): void {
  const stats = statSync(dir, { throwIfNoEntry: false });
  if (stats?.isDirectory() === true) return;
  const what = stats === undefined ? "there is no such directory" : "not a directory";
  throw new InputError(`${dir}: ${what}; ${howToMakeOne}`);
}

/** A run may come from anywhere: it names files of its own directory only. */
function inside(dir: string, name: string): string {
  const path = resolve(dir, name);
  if (relative(resolve(dir), path).split(/[/\\]/)[0] !== "..") return join(dir, name);
  throw new InputError(
    `${join(dir, "run.json")}: names ${JSON.stringify(name)}, which lies outside of the run's directory`,
  );
}

/** Results stand in the order of the models, so that a missing one would shift all others. */
function checkCounts(file: string, run: EvaluationRun): void {
  const { models, texts, tasks, samples } = run;
  if (models.length === 0) throw new InputError(`${file}: models: there is none; ${howToMakeOne}`);
  const names = new Set(models.map(({ name }) => name));
  if (names.size < models.length) {
    throw new InputError(`${file}: models: two have the same name; ${howToMakeOne}`);
  }
  const lists = [
    ...texts.map((text, i) => [`texts.${i}.models`, text.models.length] as const),
    ...tasks.map((task, i) => [`tasks.${i}.models`, task.models.length] as const),
    ...samples.map((sample, i) => [`samples.${i}.outputs`, sample.outputs.length] as const),
  ];
  for (const [place, count] of lists) {
    if (count === models.length) continue;
    throw new InputError(
      `${file}: ${place}: ${count} results for ${models.length} models; ${howToMakeOne}`,
    );
  }
}
