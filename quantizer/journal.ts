// What a run has done so far, kept beside its partial files, so that the same command goes on after any end of the process.
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Device } from "../kernels/index.ts";
import type { Checkpoint } from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";
import { type Recorded, requireSame } from "./journal-differences.ts";
import type { Recipe } from "./recipe.ts";
import type { ConversionReport, LinearReport } from "./report.ts";

/** Hidden, so that it is never taken for part of a checkpoint. */
const fileName = ".nibble-journal.jsonl";

/** What must be the same for a run to be continued; each part has a name for the message when it is not. */
export type Fingerprint = {
  readonly program: string;
  readonly source: string;
  readonly "source files": string;
  readonly recipe: string;
  readonly "calibration data": string;
  /** Empty without one. */
  readonly adapter: string;
  /** What computes, as far as the result's bytes depend on it. */
  readonly device: string;
};

/** A completed piece of work: one tensor that stays float, or one block. */
export type JournalEntry = {
  readonly done: string;
  readonly linears: readonly LinearReport[];
  readonly conversions: readonly ConversionReport[];
};

/** Whether a run was interrupted in this directory, so that the same call would continue it. */
export function hasInterruptedRun(dir: string): boolean {
  return existsSync(join(dir, fileName));
}

export function fingerprintOf(
  checkpoint: Checkpoint,
  recipe: Recipe,
  segments: readonly Int32Array[],
  options: {
    readonly version: string;
    readonly device: Device;
    readonly adapter?: string | undefined;
    readonly statistics?: string | undefined;
    readonly masks?: readonly (Uint8Array | undefined)[] | undefined;
  },
): Fingerprint {
  const hash = createHash("sha256");
  if (options.statistics !== undefined) hash.update(describeFile(options.statistics));
  for (const [i, ids] of segments.entries()) {
    hash.update(`${ids.length} `).update(ids);
    const mask = options.masks?.[i];
    if (mask !== undefined) hash.update("mask").update(mask);
  }
  return {
    program: options.version,
    source: checkpoint.dir,
    "source files": `${checkpoint.weightFiles.map(describeFile)} ${JSON.stringify(checkpoint.config)}`,
    recipe: JSON.stringify(recipe),
    "calibration data": hash.digest("hex"),
    adapter: options.adapter === undefined ? "" : describeAdapter(options.adapter),
    device: `${options.device.kind} ${options.device.vendorLibraries}`,
  };
}

function describeFile(path: string): string {
  const { size, mtimeMs } = statSync(path);
  return `${basename(path)} ${size} ${mtimeMs}`;
}

/** Its own files only: a trainer may go on writing checkpoints beside them, or this run its result. */
function describeAdapter(dir: string): string {
  const names = readdirSync(dir).filter((name) => /^adapter_(config|model)\./.test(name));
  return [resolve(dir), ...names.sort().map((name) => describeFile(join(dir, name)))].join(", ");
}

function parseLine(line: string, dir: string): object {
  let value: unknown;
  let cause: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    cause = error;
  }
  if (typeof value === "object" && value !== null) return value;
  throw new QuantizeError(
    "QUANTIZE_RESUME",
    `${join(dir, fileName)} is damaged; start over with --restart, or choose another directory`,
    { cause },
  );
}

/** An append-only file: a fingerprint, then one line per completed piece. */
export class Journal implements Disposable {
  readonly #path: string;
  readonly #done: ReadonlyMap<string, JournalEntry>;
  #appended = 0;
  #file: number | undefined;

  private constructor(path: string, done: ReadonlyMap<string, JournalEntry>, file: number) {
    this.#path = path;
    this.#done = done;
    this.#file = file;
  }

  /** Begins a run: forgets an earlier journal. */
  static start(dir: string, fingerprint: Fingerprint): Journal {
    const path = join(dir, fileName);
    const journal = new Journal(path, new Map(), openSync(path, "w"));
    journal.#writeLine(fingerprint);
    return journal;
  }

  /**
   * Opens the journal of an interrupted run.
   *
   * @returns undefined if that run had completed nothing
   * @throws QuantizeError QUANTIZE_RESUME if it belongs to another run, naming what differs
   */
  static resume(dir: string, fingerprint: Fingerprint): Journal | undefined {
    const path = join(dir, fileName);
    // A last line without its newline was being written when the process ended: that piece is repeated.
    const text = readFileSync(path, "utf8");
    const complete = text.slice(0, text.lastIndexOf("\n") + 1);
    const lines = complete.split("\n").slice(0, -1);
    const [first, ...rest] = lines;
    if (first === undefined || rest.length === 0) return undefined;
    const recorded = parseLine(first, dir) as Recorded;
    requireSame(dir, recorded, fingerprint);
    const entries = rest.map((line) => parseLine(line, dir) as JournalEntry);
    truncateSync(path, Buffer.byteLength(complete));
    return new Journal(
      path,
      new Map(entries.map((entry) => [entry.done, entry])),
      openSync(path, "a"),
    );
  }

  /** Pieces that an earlier process completed. */
  get resumed(): number {
    return this.#done.size;
  }

  /** Whether nothing would be lost by starting over. */
  get isEmpty(): boolean {
    return this.#done.size + this.#appended === 0;
  }

  entry(name: string): JournalEntry | undefined {
    return this.#done.get(name);
  }

  /** Records a piece; when this returns, it survives the end of the process. */
  append(entry: JournalEntry): void {
    this.#writeLine(entry);
    this.#appended++;
  }

  /** The run is complete: nothing is left to continue. */
  remove(): void {
    this[Symbol.dispose]();
    rmSync(this.#path, { force: true });
  }

  #writeLine(value: unknown): void {
    if (this.#file === undefined) return;
    const line = Buffer.from(`${JSON.stringify(value)}\n`);
    // A disk that is almost full takes part of a line, and says so only when asked for the rest.
    for (let done = 0; done < line.length; ) done += writeSync(this.#file, line, done);
    fsyncSync(this.#file);
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
