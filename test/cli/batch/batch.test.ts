import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { repositoryPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { mini, nibble, object } from "../support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const at = (name: string) => join(temporary.path, name);
const lines = (name: string) =>
  readFileSync(at(name), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const write = (name: string, rows: readonly object[]) =>
  writeFileSync(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
const run = (input: string, output: string, ...args: string[]) =>
  nibble(["generate", mini, "--input", at(input), "--output", at(output), ...args]);

describe("nibble generate --input", { timeout: 120_000 }, () => {
  test("answers each line as it would be answered alone, in their order", async () => {
    const messages = [{ role: "user", content: "What is 2 + 3?" }];
    write("p.jsonl", [{ id: "a", prompt: "It was a dark" }, { messages }, { prompt: "She" }]);
    const flags = ["--greedy", "--max-new-tokens", "9"];
    const summary = object(await run("p.jsonl", "a.jsonl", "--json", "-q", ...flags));
    expect(summary).toMatchObject({ answers: 3, resumed: 0 });
    const alone = [
      await nibble(["generate", mini, "--prompt", "It was a dark", "--json", ...flags]),
      await nibble(["generate", mini, "--chat", "--prompt", "What is 2 + 3?", "--json", ...flags]),
      await nibble(["generate", mini, "--prompt", "She", "--json", ...flags]),
    ].map(object);
    expect(lines("a.jsonl")).toEqual(
      alone.map(({ text, finish, promptTokens, tokens }, index) => ({
        ...{ index, ...(index === 0 ? { id: "a" } : {}), text, finish, promptTokens, tokens },
      })),
    );
    expect(existsSync(at("a.jsonl.partial"))).toBe(false);
    expect(await run("p.jsonl", "a.jsonl")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--overwrite"),
    });
  });

  test("goes on after a kill -9, and gives what it would have given", async () => {
    write(
      "many.jsonl",
      Array.from({ length: 200 }, (_, i) => ({ prompt: `Number ${i} was` })),
    );
    const flags = ["--max-new-tokens", "40", "--temperature", "1", "--seed", "5", "-q"];
    expect(await run("many.jsonl", "whole.jsonl", ...flags)).toMatchObject({ status: 0 });
    const main = repositoryPath("dist", "cli", "main.js");
    const args = [main, "generate", mini, "--input", at("many.jsonl"), "--output", at("cut.jsonl")];
    const child = spawn(process.execPath, [...args, ...flags]);
    const ended = new Promise((resolve) => child.on("close", resolve));
    const partial = at("cut.jsonl.partial");
    await expect
      .poll(() => existsSync(partial) && readFileSync(partial, "utf8").split("\n").length > 20, {
        ...{ timeout: 30_000, interval: 5 },
      })
      .toBe(true);
    child.kill("SIGKILL");
    await ended;
    expect(existsSync(at("cut.jsonl"))).toBe(false);
    writeFileSync(partial, `${readFileSync(partial, "utf8")}{"index": 19`);
    expect(await run("many.jsonl", "cut.jsonl", ...flags, "--top-p", "0.5")).toMatchObject({
      ...{ status: 2, stderr: expect.stringContaining("other settings") },
    });
    const summary = object(await run("many.jsonl", "cut.jsonl", ...flags, "--json"));
    expect(Number(summary["resumed"])).toBeGreaterThan(10);
    expect(readFileSync(at("cut.jsonl"))).toEqual(readFileSync(at("whole.jsonl")));
  });

  test.each([
    ["{", /line 1: not JSON/, 3],
    ['{"prompt": ""}', /line 1: expected/, 3],
    ['{"promt": "x"}', /line 1: expected/, 3],
    ["", /no prompt/, 3],
    ['{"messages": [{"role": "assistant", "content": "x"}]}', /prompt 1: .*user message/, 3],
    [`{"prompt": ${JSON.stringify("12 ".repeat(3000))}}`, /prompt 1 has \d+ tokens/, 3],
  ])("refuses %.40s", async (text, message, status) => {
    writeFileSync(at("bad.jsonl"), text);
    const outcome = await run("bad.jsonl", "never.jsonl");
    expect(outcome.status).toBe(status);
    expect(outcome.stderr).toMatch(message);
    expect(existsSync(at("never.jsonl"))).toBe(false);
  });

  test("flags that do not go together are told", async () => {
    expect(await nibble(["generate", mini])).toMatchObject({ status: 2 });
    expect(await nibble(["generate", mini, "--input", "x"])).toMatchObject({ status: 2 });
    expect(await run("p.jsonl", "x.jsonl", "--chat")).toMatchObject({ status: 2 });
  });
});
