import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of package.json: one up from the sources, two from dist/cli. */
export const packageRoot: string = findRoot(dirname(fileURLToPath(import.meta.url)));

export const version: string = readVersion(join(packageRoot, "package.json"));

function findRoot(start: string): string {
  for (let dir = start; ; dir = dirname(dir)) {
    if (existsSync(join(dir, "package.json"))) return dir;
    if (dir === dirname(dir)) throw new Error(`no package.json above ${start}`);
  }
}

function readVersion(path: string): string {
  const { version: found } = JSON.parse(readFileSync(path, "utf8")) as { version: string };
  return found;
}
