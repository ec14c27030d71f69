// A model's speed and memory, measured in a process of its own: nothing else has warmed its caches or swelled it.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { CacheDtype } from "../runtime/index.ts";
import type { GenerationResult } from "./generate.ts";

export type GenerationMeasurement = {
  readonly prompt: string;
  readonly threads?: number;
  readonly device?: string | undefined;
  readonly kv?: CacheDtype;
  readonly signal: AbortSignal;
};

const newTokens = 128;
/** A model this small loops without one. */
const repetitionPenalty = 1.3;

/** Runs `nibble generate --json` for 128 tokens, greedily. */
export async function measureGeneration(
  model: string,
  { prompt, threads, device, kv, signal }: GenerationMeasurement,
): Promise<GenerationResult> {
  const main = fileURLToPath(new URL("./main.js", import.meta.url));
  const limits = [
    "--max-new-tokens",
    `${newTokens}`,
    "--repetition-penalty",
    `${repetitionPenalty}`,
  ];
  const flags = ["--prompt", prompt, "--greedy", ...limits, "--no-cache", "--json"];
  const threadFlags = threads === undefined ? [] : ["--threads", String(threads)];
  const deviceFlags = device === undefined ? [] : ["--device", device];
  const kvFlags = kv === undefined ? [] : ["--kv", kv];
  const args = [main, "generate", model, ...flags, ...threadFlags, ...deviceFlags, ...kvFlags];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "pipe"],
    signal,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
  });
  const status = await new Promise<number | string>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, killer) => resolve(code ?? killer ?? "unknown"));
  });
  signal.throwIfAborted();
  if (status !== 0) throw new Error(`generating from ${model} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as GenerationResult;
}
