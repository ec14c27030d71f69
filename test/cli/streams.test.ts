// What becomes of a run whose output nobody reads or no disk holds.

import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { repositoryPath } from "../support/shared.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { calibrationText, evaluationText, mini } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());

type Streams = { readonly stdout: "pipe" | number; readonly stderr: "pipe" | number };

/** Runs the program with the reading ends of its pipes closed at the first byte. */
async function unread(
  args: readonly string[],
  { stdout, stderr }: Streams,
): Promise<number | null> {
  const main = repositoryPath("dist", "cli", "main.js");
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", stdout, stderr] });
  child.stdout?.once("data", () => child.stdout?.destroy());
  child.stderr?.once("data", () => child.stderr?.destroy());
  return await new Promise((resolve, reject) => {
    child.on("error", reject).on("exit", resolve);
  });
}

test("a reader that leaves while progress is shown does not end a quantization", async () => {
  const out = join(temporary.path, "int4");
  const flags = ["--data", calibrationText, "--samples", "4", "--length", "64", "-o", out];
  const nowhere = openSync("/dev/null", "w");
  const status = await unread(["quantize", mini, ...flags], { stdout: nowhere, stderr: "pipe" });
  closeSync(nowhere);
  expect(status).toBe(0);
  expect(readdirSync(out)).toContain("model.safetensors");
  expect(readdirSync(out).filter((name) => name.startsWith("."))).toEqual([]);
});

test("a reader of results that has seen enough is no failure", async () => {
  const flags = ["--prompt", "Once", "--max-new-tokens", "200", "--greedy"];
  expect(await unread(["generate", mini, ...flags], { stdout: "pipe", stderr: "pipe" })).toBe(0);
});

describe.skipIf(!existsSync("/dev/full"))("a full disk behind standard output", () => {
  test.each<[string, readonly string[]]>([
    ["generate", ["--prompt", "Once", "--max-new-tokens", "3"]],
    ["evaluate", ["--data", evaluationText, "--max-tokens", "512"]],
  ])("ends %s with 1 and one line", async (command, flags) => {
    const full = openSync("/dev/full", "w");
    const main = repositoryPath("dist", "cli", "main.js");
    const child = spawn(process.execPath, [main, command, mini, ...flags, "-q"], {
      stdio: ["ignore", full, "pipe"],
    });
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const status = await new Promise((resolve, reject) => {
      child.on("error", reject).on("close", resolve);
    });
    closeSync(full);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: standard output cannot be written: ENOSPC[^\n]*\n$/);
  });
});
