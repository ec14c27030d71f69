// Runs that are killed, or that find the disk full, when the work is done and the files get their final names.

import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasInterruptedRun } from "../../quantizer/index.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import {
  allPieces,
  filesOf,
  lastBlock,
  Program,
  recordedPieces,
  resumedPieces,
} from "./interference/program.ts";

const temporary = temporaryDirectory();
afterAll(temporary.remove);
const at = (name: string) => join(temporary.path, name);
const program = new Program(temporary.path);
let whole: ReadonlyMap<string, string>;
beforeAll(async () => {
  expect(await program.run(at("whole"))).toMatchObject({ status: 0 });
  whole = filesOf(at("whole"));
});

/** Every n-th step is tried with a full disk; all of them take too long for every day. */
const stride = 4;
const visible = (dir: string) => readdirSync(dir).filter((name) => !name.startsWith("."));

test("a program killed at any step of publishing ends with the same bytes and no block quantized twice", async () => {
  let steps = 0;
  for (;;) {
    const output = at(`killed-${++steps}`);
    const { status } = await program.run(output, { after: lastBlock, step: steps });
    if (status !== null) {
      expect(status).toBe(0);
      break;
    }
    // The journal goes last: without it, only a hidden lock and the exit were left.
    if (hasInterruptedRun(output)) {
      const resumed = await program.run(output);
      expect(resumed.status, `${steps}: ${resumed.stderr}`).toBe(0);
      expect(resumedPieces(resumed)).toBe(allPieces);
      expect(filesOf(output), `step ${steps}`).toEqual(whole);
    } else {
      expect(visible(output)).toEqual(visible(at("whole")));
      for (const [name, hash] of whole) expect(filesOf(output).get(name)).toBe(hash);
    }
  }
  // Weights, index, two configs, report and tokenizer are written, flushed and renamed.
  expect(steps).toBeGreaterThan(20);
});

test.each([
  ["transformer.wte.weight", 1],
  ["transformer.h.0", allPieces - 1],
])("a program killed after %s goes on with what comes next", async (after, pieces) => {
  const output = at(`early-${after}`);
  const { status } = await program.run(output, { after, step: 1 });
  expect(status).toBeNull();
  expect(visible(output)).toEqual([]);
  const resumed = await program.run(output);
  expect({ status: resumed.status, pieces: resumedPieces(resumed) }).toEqual({ status: 0, pieces });
  expect(filesOf(output)).toEqual(whole);
});

/** A file system of its own in memory; undefined where this process may not mount one. */
function mountTmpfs(name: string, size: string): string | undefined {
  const dir = at(name);
  mkdirSync(dir);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", dir], { stdio: "pipe" });
    return dir;
  } catch {
    return undefined;
  }
}

function unmount(dir: string): void {
  execFileSync("umount", [dir]);
}

const probe = mountTmpfs("probe", "64k");
if (probe !== undefined) unmount(probe);
else
  console.warn(
    "skipped: a disk that fills up, since no small one can be mounted here (needs root)",
  );

/** Runs with a disk that is full from a step on, and again with more room; false if the first run did not need any. */
async function fillAndGoOn(after: string, step: number): Promise<boolean> {
  const disk = mountTmpfs(`disk-${after}-${step}`, "4m") ?? "";
  try {
    const output = join(disk, "out");
    const full = await program.run(output, { after, step, fill: join(disk, "filler") });
    if (full.status === 0) {
      expect(filesOf(output)).toEqual(whole);
      return false;
    }
    expect(full.stderr).toMatch(/(^|\n)error: [^\n]*(ENOSPC|no space)[^\n]*\n$/);
    expect({ status: full.status, stdout: full.stdout }).toEqual({ status: 1, stdout: "" });
    expect(visible(output), `step ${step}`).toEqual([]);
    const pieces = recordedPieces(output);
    execFileSync("mount", ["-o", "remount,size=8m", disk]);
    const resumed = await program.run(output);
    expect(resumed.status).toBe(0);
    expect(resumedPieces(resumed)).toBe(pieces);
    expect(filesOf(output)).toEqual(whole);
    return true;
  } finally {
    unmount(disk);
  }
}

describe.skipIf(probe === undefined)("on a small disk (needs root, to mount one)", () => {
  test.each(["transformer.wte.weight", "transformer.h.0"])(
    "that fills up after %s, the work is kept and continued once there is room",
    async (after) => {
      expect(await fillAndGoOn(after, 1)).toBe(true);
    },
  );

  test("that fills up while publishing, the work is kept and continued once there is room", async () => {
    let failures = 0;
    for (let step = 1; await fillAndGoOn(lastBlock, step); step += stride) failures++;
    // The tokenizer, two configs, three reports and the index need room.
    expect(failures).toBeGreaterThan(20 / stride);
  });

  test("that is too small from the start, nothing is begun", async () => {
    const disk = mountTmpfs("tiny-disk", "64k") ?? "";
    try {
      const { status, stderr } = await program.run(join(disk, "out"));
      expect(stderr).toMatch(/(^|\n)error: [^\n]*needs [^\n]*free[^\n]*\n$/);
      expect(status).toBe(1);
      expect(readdirSync(disk)).toEqual([]);
    } finally {
      unmount(disk);
    }
  });
});
