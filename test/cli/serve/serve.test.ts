import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import { repositoryPath } from "../../support/shared.ts";

const program = repositoryPath("dist", "cli", "main.js");
const mini = repositoryPath("examples", "qwen-mini");

class ServeProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  stderr = "";

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(
      process.execPath,
      [program, "serve", mini, "--port", "0", "--json", ...args],
      {
        ...{ env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] },
      },
    );
    this.child.stderr?.on("data", (text) => {
      this.stderr += text;
    });
  }

  async url(): Promise<string> {
    const lines = createInterface({ input: this.child.stdout! });
    const [line] = (await once(lines, "line")) as [string];
    return (JSON.parse(line) as { url: string }).url;
  }

  async exit(): Promise<number | null> {
    if (this.child.exitCode === null) await once(this.child, "exit");
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exit();
  }
}

const chat = (max_tokens: number, stream = false) => ({
  method: "POST",
  body: JSON.stringify({
    ...{ model: "qwen-mini", max_tokens, stream, temperature: 1, repetition_penalty: 1 },
    messages: [{ role: "user", content: "Tell me a long story." }],
    logprobs: true,
  }),
});

describe("nibble serve", () => {
  test.each(["SIGTERM", "SIGINT"] as const)(
    "answers what is there after %s, then ends with 0",
    async (signal) => {
      await using server = new ServeProcess([]);
      const url = await server.url();
      const answer = await fetch(`${url}/v1/chat/completions`, chat(200, true));
      server.child.kill(signal);
      const text = await answer.text();
      expect(text).toMatch(/"finish_reason":"(stop|length)"[\s\S]*data: \[DONE\]\n\n$/);
      expect(await server.exit()).toBe(0);
      await expect(fetch(`${url}/health`)).rejects.toThrow("fetch failed");
    },
  );

  test("cuts off what takes longer than the grace", async () => {
    await using server = new ServeProcess(["--grace", "0"]);
    const url = await server.url();
    const answer = await fetch(`${url}/v1/chat/completions`, chat(1900, true));
    server.child.kill("SIGTERM");
    await expect(answer.text()).rejects.toThrow();
    expect(await server.exit()).toBe(0);
    expect(server.stderr).toContain("cut off");
  });

  test("asks for the key of the environment, and does not warn of others then", async () => {
    await using server = new ServeProcess(["--host", "0.0.0.0"], { NIBBLE_API_KEY: "secret" });
    const url = (await server.url()).replace("0.0.0.0", "127.0.0.1");
    expect((await fetch(`${url}/v1/models`)).status).toBe(401);
    const headers = { authorization: "bearer secret" };
    expect((await fetch(`${url}/v1/models`, { headers })).status).toBe(200);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect(server.stderr).not.toContain("warning");
  });

  test("warns when everybody can reach it", async () => {
    await using server = new ServeProcess(["--host", "0.0.0.0"]);
    await server.url();
    expect(server.stderr).toContain("warning: everybody who reaches 0.0.0.0");
  });

  test.each([
    [["--kv-memory", "1KB"], /--kv-memory of .* holds 0 tokens/, 2],
    [["--api-key", "a b"], /--api-key must be printable/, 2],
    [["--basic-auth", "nobody"], /USER:PASSWORD/, 2],
    [["--host", "192.0.2.1"], /EADDRNOTAVAIL/, 1],
  ] as const)("refuses %j", async (args, message, code) => {
    await using server = new ServeProcess(args);
    expect(await server.exit()).toBe(code);
    expect(server.stderr).toMatch(message);
  });
});
