import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

export const examples: string = join(import.meta.dirname, "..", "..", "examples");

/** A folder of the calling test file, removed at its end; returns a writer of files in it. */
export function temporaryFiles(): (name: string, content: string | Uint8Array) => string {
  const dir = mkdtempSync(join(tmpdir(), "nibble-calibration-"));
  afterAll(() => rmSync(dir, { recursive: true }));
  return (name, content) => {
    const path = join(dir, name);
    writeFileSync(path, content);
    return path;
  };
}
