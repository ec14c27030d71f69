import { fork, type SpawnOptions, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
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
  const options: SpawnOptions = {
    env: { ...plainEnvironment(), ...env },
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

/** The built program for command lines that come one after another, in one process: for what cannot end it. */
export class CommandLines implements Disposable {
  readonly #child = fork(fileURLToPath(new URL("command-lines.mjs", import.meta.url)), {
    env: plainEnvironment(),
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    execArgv: [],
  });

  run(args: readonly string[]): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const onMessage = (outcome: Outcome) => {
        this.#child.off("exit", onExit);
        resolve(outcome);
      };
      const onExit = (code: number | null) => {
        reject(new Error(`nibble ${args.join(" ")} ended the process with ${code}`));
      };
      this.#child.once("message", onMessage).once("exit", onExit).send(args);
    });
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

/** Without what asks for colours or none. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const { NO_COLOR: _color, FORCE_COLOR: _forced, ...inherited } = process.env;
  return inherited;
}

/** One JSON object and nothing else. */
export function object(outcome: Outcome): Record<string, unknown> {
  expect(outcome).toMatchObject({ status: 0 });
  return JSON.parse(outcome.stdout) as Record<string, unknown>;
}
