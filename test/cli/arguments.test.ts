import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { normalizeFlags } from "../../cli/arguments.ts";

const program = new Command("program");
program
  .command("run")
  .argument("<model>")
  .option("-p, --some-prompt <text>")
  .option("--group-size <n>")
  .option("--act-order [groups]")
  .option("--no-zero-bias");

function normal(...argv: string[]): string[] {
  return normalizeFlags(["run", ...argv], program).slice(1);
}

describe("a flag in snake_case", () => {
  test("is read as the flag in kebab-case", () => {
    expect(normal("--group_size", "64", "m", "--no_zero_bias")).toEqual([
      ...["--group-size", "64", "m", "--no-zero-bias"],
    ]);
  });

  test("keeps the value after its equals sign", () => {
    expect(normal("--group_size=a_b")).toEqual(["--group-size=a_b"]);
  });

  test("stays as it is where the program has no such flag", () => {
    expect(normal("--what_ever", "--group__size")).toEqual(["--what_ever", "--group__size"]);
  });

  test("is left alone where it is the value of another flag or comes after --", () => {
    const argv = ["--some-prompt", "--group_size", "-p", "--act_order", "--", "--group_size"];
    expect(normal(...argv)).toEqual(argv);
  });

  test("is recognized after the value of a flag, and after a flag whose value is optional", () => {
    expect(normal("-p", "x", "--act_order", "--group_size", "1")).toEqual([
      ...["-p", "x", "--act-order", "--group-size", "1"],
    ]);
  });
});
