// nibble chat as a program: from a pipe, and on a terminal.
import { spawn, spawnSync } from "node:child_process";
import { afterAll, describe, expect, test } from "vitest";
import { repositoryPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { mini } from "../support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const main = repositoryPath("dist", "cli", "main.js");

function piped(input: string, args: readonly string[] = []) {
  return spawnSync(process.execPath, [main, "chat", mini, ...args], { input, encoding: "utf8" });
}

describe("nibble chat from a pipe", () => {
  test("answers each line, in the light of those before", () => {
    const flags = ["--json", "-q", "--seed", "3", "--max-new-tokens", "30"];
    const { status, stdout, stderr } = piped("What is 2 + 3?\n\n:help\n你好", flags);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const answers = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(answers.map(({ query }) => query)).toEqual(["What is 2 + 3?", ":help", "你好"]);
    expect(answers.map(({ reusedTokens }) => Number(reusedTokens) > 0)).toEqual([
      false,
      true,
      true,
    ]);
    expect(piped("What is 2 + 3?\n", flags).stdout.split("\n")[0]).toContain(
      JSON.stringify(answers[0]?.["text"]),
    );
  });

  test("flags out of range are refused", () => {
    expect(piped("x", ["--top-p", "2"])).toMatchObject({ status: 2 });
    expect(piped("x", ["--allowed-special", "im_start"])).toMatchObject({ status: 2 });
  });

  test("a message longer than the model can take is one line of error", () => {
    const { status, stderr } = piped("word ".repeat(3000));
    expect(status).toBe(2);
    expect(stderr).toMatch(/^error: [^\n]*too long[^\n]*\n$/);
  });
});

// util-linux's script gives a program a terminal.
const hasScript = spawnSync("script", ["--version"]).status === 0;
if (!hasScript) console.warn("skipped: a chat on a terminal needs the program `script`");

/** Types into a program on a terminal; each key goes when the screen shows what it waits for. */
function onTerminal(steps: readonly { readonly after: RegExp; readonly type: string }[]) {
  // `exec`, since a shell that stays would end by Ctrl-C, and its status would hide the program's.
  const command = `stty cols 60 rows 30; exec "${process.execPath}" "${main}" chat "${mini}" --no-color --seed 5 --temperature 3 --max-new-tokens 1000`;
  const child = spawn("script", ["-qfec", command, "/dev/null"], {
    env: { ...process.env, SHELL: "/bin/sh", LC_ALL: "C.UTF-8", TERM: "xterm" },
  });
  let screen = "";
  let seen = 0;
  // What the line editor sends to place the cursor.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it begins such a sequence
  const cursor = /\u001b\[\d*[A-Z]/g;
  const waiting = [...steps];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    screen += text.replace(cursor, "");
    const [next] = waiting;
    const match = next?.after.exec(screen.slice(seen));
    if (match === undefined || match === null) return;
    seen = screen.length;
    waiting.shift();
    child.stdin.write(next?.type ?? "");
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  return new Promise<{ status: number | null; screen: string; left: number }>((resolve) => {
    child.on("close", (status) => {
      clearTimeout(timer);
      resolve({ status, screen, left: waiting.length });
    });
  });
}

describe.skipIf(!hasScript)("nibble chat on a terminal", () => {
  test("streams; Ctrl-C stops an answer, which is forgotten; commands work; Ctrl-D leaves", async () => {
    const { status, screen, left } = await onTerminal([
      { after: /> $/, type: "讲故事 tell me\r" },
      { after: /\r\n[^\r\n]{20}/, type: "\u0003" },
      { after: /> $/, type: ":history\r" },
      { after: /> $/, type: "\u0004" },
    ]);
    expect({ status, left }).toEqual({ status: 0, left: 0 });
    expect(screen).toContain("讲故事 tell me");
    expect(screen).toContain("interrupted; this turn is forgotten");
    expect(screen).toContain("nothing was said yet");
  });

  test("Ctrl-C takes back what was typed, and leaves when given twice on an empty line", async () => {
    const { status, screen, left } = await onTerminal([
      { after: /> $/, type: "typed\u0003" },
      { after: /> $/, type: "\u0003" },
      { after: /leaves(?:.|\n|\r)*> $/, type: "\u0003" },
    ]);
    expect({ status, left }).toEqual({ status: 130, left: 0 });
    expect(screen).toContain("Ctrl-C again or Ctrl-D leaves");
  });
});
