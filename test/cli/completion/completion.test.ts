import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { nibble } from "../support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const script = (shell: string) => join(temporary.path, `nibble.${shell}`);
const shells = ["bash", "zsh", "fish"] as const;
const isInstalled = (shell: string): boolean => {
  if (spawnSync(shell, ["-c", "true"]).status === 0) return true;
  console.warn(`skipped: completion in ${shell}, which is not installed`);
  return false;
};

beforeAll(async () => {
  mkdirSync(join(temporary.path, "model"));
  writeFileSync(join(temporary.path, "mixed data.jsonl"), "");
  for (const shell of shells) {
    const { status, stdout } = await nibble(["completion", shell]);
    expect(status).toBe(0);
    writeFileSync(script(shell), stdout);
  }
});

function run(shell: string, source: string, args: readonly string[] = []): string[] {
  const options = { cwd: temporary.path, encoding: "utf8", timeout: 20_000 } as const;
  const flags = shell === "bash" ? ["--norc"] : [];
  return execFileSync(shell, [...flags, "-c", source, ...args], options).split("\n");
}

/** What bash offers for the last of these words, split as bash splits them. */
function bashOffers(...words: readonly string[]): string[] {
  const source = `source ${script("bash")}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nibble; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return run("bash", source, ["bash", "nibble", ...words]).filter((line) => line !== "");
}

describe.skipIf(!isInstalled("bash"))("in bash", () => {
  test("the first word is one of the commands", () => {
    expect(bashOffers("")).toEqual(expect.arrayContaining(["quantize", "completion", "help"]));
    expect(bashOffers("qu")).toEqual(["quantize"]);
  });

  test.each<[string, readonly string[], readonly string[]]>([
    ["a command's flags", ["quantize", "model", "--act"], ["--act-order"]],
    ["no flag of another command", ["generate", "--gro"], []],
    ["flags of every command", ["inspect", "--js"], ["--json"]],
    ["choices of a flag", ["quantize", "--tokens", ""], ["all", "assistant"]],
    ["choices after an equals sign", ["quantize", "--tokens", "=", "as"], ["assistant"]],
    ["choices right behind an equals sign", ["quantize", "--tokens", "="], ["all", "assistant"]],
    ["a choice that looks like a flag", ["quantize", "--group-size", "-"], ["-1"]],
    ["choices of an argument", ["completion", ""], [...shells]],
    ["nothing for a number", ["quantize", "--samples", ""], []],
    ["nothing of its own for files", ["quantize", "--data", ""], []],
    ["commands after help", ["help", "ver"], ["verify"]],
    ["nothing for an unknown command", ["quantise", "--"], []],
  ])("offers %s", (_name, words, offered) => {
    expect(bashOffers(...words)).toEqual(offered);
  });

  test("what was typed is never evaluated", () => {
    const trap = join(temporary.path, "trap");
    for (const typed of [`$(touch ${trap})`, `\`touch ${trap}\``, `a; touch ${trap}`, "*"]) {
      expect(bashOffers("quantize", typed, "--restart")).toEqual(["--restart"]);
      expect(bashOffers("quantize", "--tokens", typed)).toEqual([]);
      expect(bashOffers(typed, "--restart")).toEqual([]);
    }
    expect(existsSync(trap)).toBe(false);
  });
});

describe.skipIf(!isInstalled("fish"))("in fish", () => {
  const offers = (line: string) =>
    run("fish", `source ${script("fish")}; complete -C ${JSON.stringify(line)}`)
      .map((offer) => offer.split("\t")[0])
      .filter((offer) => offer !== "");

  test("commands, flags, choices and files are offered", () => {
    expect(offers("nibble qu")).toEqual(["quantize"]);
    expect(offers("nibble quantize model --tokens ")).toEqual(["all", "assistant"]);
    expect(offers("nibble quantize --data mix")).toEqual([expect.stringMatching(/^mixed.*jsonl$/)]);
    expect(offers("nibble quantize mod")).toEqual(["model/"]);
    expect(offers("nibble generate model --samp")).toEqual([]);
    expect(offers("nibble completion ")).toEqual(expect.arrayContaining([...shells]));
  });
});

describe.skipIf(!isInstalled("zsh"))("in zsh", () => {
  /** What the script tells zsh's own completion functions, which need a terminal themselves. */
  const told = (...words: readonly string[]) => {
    const source = `compdef() {}
_arguments() { print -rl -- "$@" }
_describe() { print -rl -- $commands }
source ${script("zsh")}; words=("$@"); CURRENT=$#; _nibble`;
    return run("zsh", source, ["zsh", "nibble", ...words]);
  };

  test("the first word is one of the commands, with what it does", () => {
    expect(told("")).toContain("chat:Talk with a chat model");
  });

  test("a command has its own flags, choices and files", () => {
    const specs = told("quantize", "");
    expect(specs.some((spec) => /^\(--tokens\).*:\(all assistant\)$/.test(spec))).toBe(true);
    expect(specs.some((spec) => /^\*--data=\[.*:_files$/.test(spec))).toBe(true);
    expect(specs).toContain("*:quantize:_files");
    expect(told("generate", "").join()).not.toContain("--act-order");
    expect(told("completion", "")).toContain("*:completion:(bash zsh fish)");
  });
});

for (const shell of shells.filter((one) => !isInstalled(one))) {
  test(`${shell} completes`, (context) => context.skip(`${shell} is not installed`));
}
