// Where a result may go, and how nothing of it stays when it does not come about.
import { existsSync, readdirSync, realpathSync, rmdirSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import { isPartial, makeDirectories } from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";

/**
 * Checks that a result may be written to a directory, which need not exist. Files that a killed run left under
 * temporary names do not count.
 *
 * @param source  the model's directory, which need not exist either
 * @throws QuantizeError QUANTIZE_OUTPUT if it is the source, inside it, in use or a file
 */
export function checkOutputDirectory(dir: string, source: string, overwrite: boolean): void {
  const refuse = (problem: string): never => {
    throw new QuantizeError("QUANTIZE_OUTPUT", `${dir}: ${problem}`);
  };
  if (`${realPathToBe(resolve(dir))}${sep}`.startsWith(`${realPathToBe(resolve(source))}${sep}`)) {
    refuse("is the source model or inside it; choose another directory");
  }
  if (!existsSync(dir)) return;
  if (!statSync(dir).isDirectory()) refuse("is a file; give a directory for the result");
  if (!overwrite && readdirSync(dir).some((name) => !isPartial(name))) {
    refuse("is not empty; choose another directory or allow overwriting (--overwrite)");
  }
}

/**
 * Creates the output directory, or empties it of what a killed run left.
 *
 * @returns the outermost directory that had to be created, if any
 * @throws QuantizeError QUANTIZE_OUTPUT as `checkOutputDirectory` does, and if it cannot be created
 */
export function prepareDirectory(
  dir: string,
  source: string,
  use: { readonly mayBeFull: boolean; readonly keepsPartials: boolean },
): string | undefined {
  checkOutputDirectory(dir, source, use.mayBeFull);
  try {
    const outermost = makeDirectories(dir);
    if (use.keepsPartials) return outermost;
    for (const name of readdirSync(dir).filter(isPartial)) rmSync(join(dir, name));
    return outermost;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new QuantizeError("QUANTIZE_OUTPUT", `${dir}: cannot be used: ${reason}`, { cause });
  }
}

/** Removes `dir` and its parents up to the outermost created one, as long as they are empty. */
export function removeCreated(dir: string, outermost: string | undefined): void {
  if (outermost === undefined) return;
  for (let path = dir; path.startsWith(outermost); path = dirname(path)) {
    if (!existsSync(path) || readdirSync(path).length > 0) return;
    rmdirSync(path);
  }
}

/** Without links, as far as the path exists already. */
function realPathToBe(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(realPathToBe(parent), basename(path));
}
