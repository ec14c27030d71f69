// Reference material beside the repository (goldens, the real vocabulary). It is not part of the
// repository: a test that needs it is skipped, with the reason printed, where it is absent.

import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..", "..", "shared");

/** Path of `../shared/<parts>`, or undefined where there is no such file. */
export function sharedPath(...parts: readonly string[]): string | undefined {
  const path = join(root, ...parts);
  return existsSync(path) ? path : undefined;
}
