// Reference material beside the repository (goldens, the real vocabulary). It is not part of the
// repository: a test that needs it is skipped, with the reason printed, where it is absent.

import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..", "..", "shared");

/** Path of `../shared/<parts>`, or undefined, said on the console, where there is no such file. */
export function sharedPath(...parts: readonly string[]): string | undefined {
  const path = join(root, ...parts);
  if (existsSync(path)) {
    return path;
  }
  console.log(`../shared/${parts.join("/")} is absent: tests that need it are skipped`);
  return undefined;
}
