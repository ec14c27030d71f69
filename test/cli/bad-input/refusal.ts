// What the program must do with input it cannot use.

import { existsSync, readdirSync } from "node:fs";
import { afterAll, expect } from "vitest";
import { CommandLines } from "../support.ts";

const program = new CommandLines();
afterAll(() => program[Symbol.dispose]());

export const smallRecipe: readonly string[] = [
  ...["--group-size", "32", "--samples", "2", "--length", "16", "--threads", "1", "-q"],
];

export type Refusal = {
  readonly args: readonly string[];
  /** The output directory. */
  readonly output: string;
  readonly status: number;
  /** What the one line must contain. */
  readonly names: readonly string[];
};

/** Runs the program; it must end with one line on stderr, and with nothing under a final name. */
export async function expectRefusal({ args, output, status, names }: Refusal): Promise<void> {
  const outcome = await program.run(args);
  expect(outcome.stderr).toMatch(/^error: \P{Cc}+\n$/u);
  expect(outcome.stderr).not.toContain("internal error");
  for (const name of names) expect(outcome.stderr).toContain(name);
  expect({ status: outcome.status, stdout: outcome.stdout }).toEqual({ status, stdout: "" });
  const left = existsSync(output) ? readdirSync(output) : [];
  expect(left.filter((name) => !name.startsWith("."))).toEqual([]);
}
