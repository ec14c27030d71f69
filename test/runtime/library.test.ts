// The package as a program of one's own sees it: built, by its name.
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { load } from "../../runtime/library.ts";
import { repositoryPath } from "../support/shared.ts";

const mini = repositoryPath("examples", "qwen-mini");

describe("the library", () => {
  test("answers several questions at once, as text or as it comes", async () => {
    await using model = await load(mini, { threads: 2, kv: "int8" });
    const options = { temperature: 0, maxNewTokens: 12 };
    const [first, second] = await Promise.all([
      model.chat("What is 2 + 3?", options).text(),
      model.complete("It was a dark", options).text(),
    ]);
    let streamed = "";
    const messages = [
      { role: "system", content: "You are a helpful assistant." },
      { role: "user", content: "What is 2 + 3?" },
    ] as const;
    for await (const { text } of model.chat(messages, options)) streamed += text;
    expect(streamed).toBe(first);
    expect(second).not.toBe(first);
  });

  test("ends when aborted or left, and refuses what is not valid", async () => {
    await using model = await load(mini, { threads: 2 });
    const signal = AbortSignal.timeout(20);
    const long = { maxNewTokens: 1500, temperature: 1, signal };
    await expect(model.complete("Once", long).text()).rejects.toThrow(/timeout/);
    for await (const _ of model.complete("Once", { maxNewTokens: 1500 })) break;
    expect(() => model.complete("")).toThrow("empty");
    expect(() => model.chat("x", { topP: 3 })).toThrow("topP must be");
    await expect(load("/nowhere")).rejects.toMatchObject({ name: "CheckpointError" });
  });

  test("is imported by its name", () => {
    const program = `
      import { load } from "nibble";
      const model = await load("examples/qwen-mini");
      const text = await model.complete("It was", { temperature: 0, maxNewTokens: 3 }).text();
      await model[Symbol.asyncDispose]();
      console.log(text.length > 0);`;
    const args = ["--input-type=module", "-e", program];
    const { stdout, stderr } = spawnSync(process.execPath, args, {
      ...{ cwd: repositoryPath(), encoding: "utf8" },
    });
    expect({ stdout, stderr }).toEqual({ stdout: "true\n", stderr: "" });
  });
});
