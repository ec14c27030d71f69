import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeDirectories } from "../../../runtime/checkpoint/index.ts";

test("creates missing parents and names the outermost", () => {
  const dir = mkdtempSync(join(tmpdir(), "nibble-dir-"));
  try {
    expect(makeDirectories(join(dir, "a", "b", "c"))).toBe(join(dir, "a"));
    expect(existsSync(join(dir, "a", "b", "c"))).toBe(true);
    expect(makeDirectories(join(dir, "a", "b"))).toBeUndefined();
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test.runIf(existsSync("/proc/self"))("returns with an error where nothing can be created", () => {
  expect(() => makeDirectories("/proc/nibble/x")).toThrow(/ENOENT|EACCES|EPERM/);
});
