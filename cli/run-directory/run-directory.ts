// The directory of an evaluation while it is made: what decides its results, and each part of them as it is ready, so that a run that
// was ended goes on from there.
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { DirectoryLock, isLock } from "../../quantizer/index.ts";
import { type JsonObject, makeDirectories, writeFileAtomic } from "../../runtime/index.ts";
import { UsageError } from "../errors.ts";
import { AnswersLog } from "./answers-log.ts";
import { type EvaluationRun, evaluationRun } from "./format.ts";
import { readJson } from "./read-json.ts";

const settingsFile = "settings.json";
const runFile = "run.json";
const secondsFile = "seconds.json";
/** All that a run leaves, for --overwrite. */
const owned = [settingsFile, runFile, secondsFile, "answers", "tokens", "parts", "reports"];

/** For files that something else has changed. */
const advice = "--overwrite begins anew";

const settingsSchema = z.object({ startedAt: z.string(), settings: z.json() });

export class RunDirectory implements Disposable {
  readonly dir: string;
  /** ISO 8601; of the first of the runs that made it. */
  readonly startedAt: string;
  readonly #lock: DirectoryLock;
  readonly #before: number;
  readonly #started: number = performance.now();

  /**
   * @param settings  all that decides the results
   * @throws UsageError if the directory holds something else, or a run with other settings; QuantizeError QUANTIZE_IN_USE if
   *   another program writes to it
   */
  constructor(dir: string, settings: JsonObject, { overwrite }: { readonly overwrite: boolean }) {
    this.dir = dir;
    makeDirectories(dir);
    this.#lock = new DirectoryLock(dir);
    try {
      this.startedAt = agreeOnSettings(dir, settings, overwrite);
      for (const name of ["answers", "tokens", "parts", "reports"]) {
        mkdirSync(join(dir, name), { recursive: true });
      }
      const seconds = join(dir, secondsFile);
      this.#before = existsSync(seconds) ? readJson(seconds, z.number(), advice) : 0;
    } catch (error) {
      this.#lock[Symbol.dispose]();
      throw error;
    }
  }

  /** Of all runs that made it. */
  get seconds(): number {
    return this.#before + (performance.now() - this.#started) / 1000;
  }

  /** @returns where the answers of a model to a task go, with those that are there */
  answers(task: string, model: string): AnswersLog {
    return new AnswersLog(join(this.dir, "answers", `${task}-${model}.jsonl`));
  }

  /** A part of the result: as it was made before, or made now. */
  async part<Part>(
    name: string,
    schema: z.ZodType<Part>,
    make: () => Promise<Part>,
  ): Promise<Part> {
    const file = join(this.dir, "parts", `${name}.json`);
    if (existsSync(file)) return readJson(file, schema, advice);
    const part = await make();
    writeJson(file, part);
    return part;
  }

  /** @param name  relative to the directory */
  write(name: string, contents: string | Uint8Array): void {
    writeFileAtomic(join(this.dir, name), contents);
  }

  finish(run: EvaluationRun): void {
    writeJson(join(this.dir, runFile), evaluationRun.parse(run));
  }

  [Symbol.dispose](): void {
    try {
      writeJson(join(this.dir, secondsFile), this.seconds);
    } finally {
      this.#lock[Symbol.dispose]();
    }
  }
}

/** @returns when the run began: now, unless it goes on */
function agreeOnSettings(dir: string, settings: JsonObject, overwrite: boolean): string {
  const file = join(dir, settingsFile);
  const isRun = existsSync(file);
  if (isRun && !overwrite) return checkSettings(file, settings);
  if (!isRun && readdirSync(dir).some((name) => !isLock(name))) {
    throw new UsageError(
      `--output ${dir} is not empty and holds no evaluation; give a new directory`,
    );
  }
  // Other files, such as what was made of the run, are not ours to remove.
  for (const name of owned) rmSync(join(dir, name), { recursive: true, force: true });
  const startedAt = new Date().toISOString();
  writeJson(file, { startedAt, settings });
  return startedAt;
}

/** @returns when the run began */
function checkSettings(file: string, settings: JsonObject): string {
  const earlier = readJson(file, settingsSchema, advice);
  const [before, now] = [earlier.settings as JsonObject, settings];
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  const other = names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(now[name]));
  if (other.length === 0) return earlier.startedAt;
  throw new UsageError(
    `${file} is of a run with other settings (${other.join(", ")}); the same command goes on with it, another needs ` +
      "another --output, and --overwrite begins anew",
  );
}

function writeJson(file: string, value: unknown): void {
  writeFileAtomic(file, `${JSON.stringify(value, undefined, 2)}\n`);
}
