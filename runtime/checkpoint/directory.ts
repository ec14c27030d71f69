import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Creates a directory and its missing parents, one by one: Node's own recursive creation never returns on file systems
 * that refuse with "no such file", /proc among them.
 *
 * @returns the outermost directory that had to be created, if any
 * @throws the operating system's error
 */
export function makeDirectories(path: string): string | undefined {
  if (existsSync(path)) return undefined;
  const outermost = makeDirectories(dirname(path));
  mkdirSync(path);
  return outermost ?? path;
}
