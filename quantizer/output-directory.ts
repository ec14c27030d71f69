// Where a result may go, and how nothing of it stays when it does not come about.
import {
  existsSync,
  lstatSync,
  readdirSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import { isPartial, makeDirectories } from "../runtime/index.ts";
import { DirectoryLock, isLock, requireUnlocked } from "./directory-lock.ts";
import { QuantizeError } from "./errors.ts";

/**
 * Checks that a result may be written to a directory, which need not exist. Files that a killed run left under
 * temporary names do not count.
 *
 * @param source  the model's directory, which need not exist either
 * @param overwrite  whether it may be full; undefined where nobody can ask for that
 * @throws QuantizeError QUANTIZE_OUTPUT if it is the source, inside it, not empty or a file; QUANTIZE_IN_USE if another
 *   run writes there
 */
export function checkOutputDirectory(
  dir: string,
  source: string,
  overwrite: boolean | undefined,
): void {
  const refuse = (problem: string): never => {
    throw new QuantizeError("QUANTIZE_OUTPUT", `${dir}: ${problem}`);
  };
  if (`${realPathToBe(resolve(dir))}${sep}`.startsWith(`${realPathToBe(resolve(source))}${sep}`)) {
    refuse("is the source model or inside it; choose another directory");
  }
  if (!existsSync(dir)) {
    if (isLink(dir)) refuse("is a link to something that does not exist");
    return;
  }
  if (!statSync(dir).isDirectory()) refuse("is a file; give a directory for the result");
  requireUnlocked(dir);
  if (!overwrite && readdirSync(dir).some((name) => !isPartial(name))) {
    const alternative = overwrite === undefined ? "" : " or allow overwriting (--overwrite)";
    refuse(`is not empty; choose another directory${alternative}`);
  }
}

/** An output directory that is this run's alone until disposed; it then goes away again if it is empty and was new. */
export class OutputDirectory implements Disposable {
  readonly #dir: string;
  readonly #source: string;
  /** The outermost directory that had to be created, if any. */
  readonly #outermost: string | undefined;
  readonly #lock: DirectoryLock | undefined;

  /**
   * @throws QuantizeError QUANTIZE_OUTPUT as `checkOutputDirectory` does for any contents, and if it cannot be created or
   *   written; QUANTIZE_IN_USE if another run writes there
   */
  constructor(dir: string, source: string) {
    checkOutputDirectory(dir, source, true);
    this.#dir = dir;
    this.#source = source;
    // Known before anything is created: creation may fail half-way.
    this.#outermost = firstMissing(dir);
    this.#lock = this.#using(() => {
      makeDirectories(dir);
      return new DirectoryLock(dir);
    });
  }

  /**
   * Empties the directory of what a killed run left, unless that is to be continued.
   *
   * @param use  `mayBeFull` as the `overwrite` of `checkOutputDirectory`
   *
   * @throws QuantizeError QUANTIZE_OUTPUT if other things are there and may not be
   */
  prepare(use: { readonly mayBeFull: boolean | undefined; readonly keepsPartials: boolean }): void {
    checkOutputDirectory(this.#dir, this.#source, use.mayBeFull);
    if (use.keepsPartials) return;
    this.#using(() => {
      const partials = readdirSync(this.#dir).filter((name) => isPartial(name) && !isLock(name));
      for (const name of partials) rmSync(join(this.#dir, name));
    });
  }

  #using<Result>(action: () => Result): Result {
    try {
      return action();
    } catch (cause) {
      this[Symbol.dispose]();
      if (cause instanceof QuantizeError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new QuantizeError("QUANTIZE_OUTPUT", `${this.#dir}: cannot be used: ${reason}`, {
        cause,
      });
    }
  }

  [Symbol.dispose](): void {
    this.#lock?.[Symbol.dispose]();
    if (this.#outermost !== undefined) removeEmpty(this.#dir, this.#outermost);
  }
}

function firstMissing(path: string): string | undefined {
  if (existsSync(path)) return undefined;
  return firstMissing(dirname(path)) ?? path;
}

/** Removes `dir` and its parents up to `outermost`, as long as they are empty. */
function removeEmpty(dir: string, outermost: string): void {
  for (let path = dir; path.startsWith(outermost); path = dirname(path)) {
    if (!existsSync(path)) continue;
    if (readdirSync(path).length > 0) return;
    rmdirSync(path);
  }
}

/** Without links, as far as the path exists already. */
function realPathToBe(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(realPathToBe(parent), basename(path));
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false; // absent, or what creating it will name the trouble with
  }
}
