// A run's directory, read whole before anything is written.
import { readFileSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import type { z } from "zod";
import { InputError } from "../errors.ts";
import { type EvaluationRun, evaluationRun } from "../run-directory/format.ts";
import { type QuantizationCopy, quantizationCopy } from "./quantization-copy.ts";
import { readTokenColumns, type TokenColumns } from "./token-columns.ts";

export type RunFiles = {
  readonly run: EvaluationRun;
  /** By model; undefined without one */
  readonly quantizations: readonly (QuantizationCopy | undefined)[];
  /** By text */
  readonly tokens: readonly TokenColumns[];
};

const howToMakeOne = "nibble evaluate MODEL… --data FILE --output RUN makes one";

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
    tokens.push(await readTokenColumns(path, readInput(path), run.models.length));
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

function readJson<Value>(file: string, schema: z.ZodType<Value>, advice: string): Value {
  const text = new TextDecoder().decode(readInput(file, advice));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${file}: not JSON: ${reasonOf(cause)}; ${advice}`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const place = issue?.path.map(String).join(".") ?? "";
  throw new InputError(
    `${file}: ${place === "" ? "" : `${place}: `}${issue?.message ?? "unexpected contents"}; ${advice}`,
  );
}

function readInput(file: string, advice = "the run is incomplete: evaluate again"): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new InputError(`${file}: cannot be read: ${reasonOf(cause)}; ${advice}`, { cause });
  }
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

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
