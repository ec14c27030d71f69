// A Hugging Face cache as `hf download` leaves it.

import { copyFileSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

export const cachedCommit = "0123456789abcdef0123456789abcdef01234567";

/**
 * Puts a model into a cache: blobs, the links to them, and refs.
 *
 * @returns the snapshot's directory
 */
export function fillHubCache(cache: string, folder: string, source: string, ref = "main"): string {
  const root = join(cache, folder);
  const snapshot = join(root, "snapshots", cachedCommit);
  for (const dir of [join(root, "blobs"), snapshot, dirname(join(root, "refs", ref))]) {
    mkdirSync(dir, { recursive: true });
  }
  writeFileSync(join(root, "refs", ref), cachedCommit);
  for (const [i, name] of readdirSync(source).entries()) {
    const blob = join(root, "blobs", `${i}`.padStart(64, "0"));
    copyFileSync(join(source, name), blob);
    symlinkSync(relative(snapshot, blob), join(snapshot, name));
  }
  return snapshot;
}
