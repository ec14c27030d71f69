import { type SpawnOptions, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { expect } from "vitest";
import { repositoryPath } from "../support/shared.ts";

export const mini: string = repositoryPath("examples", "qwen-mini");
export const evaluationText: string = repositoryPath("examples", "evaluation.txt");
export const calibrationText: string = repositoryPath("examples", "calibration.jsonl");

const main = repositoryPath("dist", "cli", "main.js");

export type Outcome = {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type RunOptions = {
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each piece of stderr, to act while the program runs. */
  onError?(text: string, kill: (signal: NodeJS.Signals) => void): void;
};

/** Runs the built program without a terminal. */
export async function nibble(
  args: readonly string[],
  { env = {}, onError }: RunOptions = {},
): Promise<Outcome> {
  if (!existsSync(main)) throw new Error(`${main} is missing: npm run build`);
  const { NO_COLOR: _color, FORCE_COLOR: _forced, ...inherited } = process.env;
  const options: SpawnOptions = {
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  };
  const child = spawn(process.execPath, [main, ...args], options);
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    onError?.(text, (signal) => child.kill(signal));
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  return { status, stdout, stderr };
}

/** One JSON object and nothing else. */
export function object(outcome: Outcome): Record<string, unknown> {
  expect(outcome).toMatchObject({ status: 0 });
  return JSON.parse(outcome.stdout) as Record<string, unknown>;
}
