// Where a result may go, and how nothing of it stays when it does not come about.
import { existsSync, readdirSync, realpathSync, rmdirSync, statSync } from "node:fs";
import { basename, dirname, join, sep } from "node:path";
import { makeDirectories } from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";

/**
 * Creates the output directory, or checks that it may be used.
 *
 * @returns the outermost directory that had to be created, if any
 * @throws QuantizeError QUANTIZE_OUTPUT if it is the source, inside it, in use, a file or cannot be created
 */
export function prepareDirectory(
  dir: string,
  source: string,
  overwrite: boolean,
): string | undefined {
  const refuse = (problem: string): never => {
    throw new QuantizeError("QUANTIZE_OUTPUT", `${dir}: ${problem}`);
  };
  if (`${realPathToBe(dir)}${sep}`.startsWith(`${realpathSync(source)}${sep}`)) {
    refuse("is the source model or inside it; choose another directory");
  }
  if (existsSync(dir)) {
    if (!statSync(dir).isDirectory()) refuse("is a file; give a directory for the result");
    if (readdirSync(dir).length > 0 && !overwrite) {
      refuse("is not empty; choose another directory");
    }
    return undefined;
  }
  try {
    return makeDirectories(dir);
  } catch (cause) {
    throw new QuantizeError("QUANTIZE_OUTPUT", `${dir}: cannot be created: ${String(cause)}`, {
      cause,
    });
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
