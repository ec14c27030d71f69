import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

const shared = resolve(import.meta.dirname, "../../../shared");

/**
 * A path in the folder of reference models and goldens that may lie beside the repository.
 *
 * @returns undefined, after printing why, if it is not there: the test should then be skipped
 */
export function sharedPath(...parts: readonly string[]): string | undefined {
  const path = join(shared, ...parts);
  if (existsSync(path)) return path;
  console.warn(`skipped: reference file ${join("..", "shared", ...parts)} is not here`);
  return undefined;
}

/** A path inside the repository. */
export function repositoryPath(...parts: readonly string[]): string {
  return resolve(import.meta.dirname, "../..", ...parts);
}
