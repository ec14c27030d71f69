import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestServer } from "./support.ts";

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

const post = (path: string, body: string | Uint8Array<ArrayBuffer>) =>
  fetch(`${server.listener.url}${path}`, { method: "POST", body });

const chat = (extra: object) =>
  JSON.stringify({
    ...{ model: "qwen-mini", messages: [{ role: "user", content: "Hi" }], max_tokens: 4, ...extra },
  });
const says = (content: unknown) => chat({ messages: [{ role: "user", content }] });

const refused: readonly [name: string, body: string | Uint8Array<ArrayBuffer>, status: number][] = [
  ["nothing", "", 400],
  ["half an object", '{"model": "qwen-mini", "messages": [', 400],
  ["an array", "[]", 400],
  ["deep nesting", "[".repeat(100_000), 400],
  ["invalid UTF-8", Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d), 400],
  ["a body of 10 MB", says("x".repeat(10_000_000)), 413],
  ["100,000 tokens", says("12 ".repeat(100_000)), 400],
  ["a word of 100,000 letters", says("a".repeat(100_000)), 400],
  ["a number for messages", chat({ messages: 7 }), 400],
  ["content of a wrong type", says({ text: "x" }), 400],
  ["a picture", says([{ type: "image_url", image_url: { url: "x" } }]), 400],
  ["negative tokens", chat({ max_tokens: -1 }), 400],
  ["half a token", chat({ max_tokens: 1.5 }), 400],
  ["a million answers", chat({ n: 1e6 }), 400],
  ["an empty stop", chat({ stop: "" }), 400],
  ["a temperature of text", chat({ temperature: "hot" }), 400],
  ["too many log probabilities", chat({ logprobs: true, top_logprobs: 1000 }), 400],
  ["another model", chat({ model: "gpt-4" }), 404],
];

describe("hostile requests", () => {
  test.each(refused)("%s: refused in OpenAI's shape", async (_, body, status) => {
    const response = await post("/v1/chat/completions", body);
    expect(response.status).toBe(status);
    const { error } = (await response.json()) as { error: Record<string, unknown> };
    expect(error["message"]).toEqual(expect.any(String));
    expect(Object.keys(error)).toEqual(["message", "type", "param", "code"]);
    expect(server.errors).toEqual([]);
  });

  test("unknown paths and methods are told, ids without a token too", async () => {
    for (const path of ["/v1/embeddings", "/", "/../../etc/passwd"]) {
      expect((await post(path, "{}")).status).toBe(404);
    }
    const detokenize = await post("/detokenize", '{"tokens": [1, 4096]}');
    expect(await detokenize.json()).toMatchObject({ error: { param: "tokens" } });
    const prompt = await post("/v1/completions", '{"model": "qwen-mini", "prompt": [5000]}');
    expect(await prompt.json()).toMatchObject({ error: { code: "invalid_value" } });
  });

  test("sockets that are cut, half closed or slow leave other streams alone", async () => {
    const { port, hostname } = new URL(server.listener.url);
    const body = chat({ max_tokens: 300, stream: true, temperature: 1 });
    const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
    const other = post("/v1/chat/completions", chat({ max_tokens: 200, temperature: 0 }));
    const open = (text: string) => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => {});
      socket.write(text);
      return socket;
    };
    const slow = open(head + body);
    slow.pause();
    const halfClosed = open(head + body);
    halfClosed.end();
    open(head + body.slice(0, 40)).destroy();
    const cut = open(head + body);
    cut.once("data", () => cut.destroy());
    const answer = await other;
    expect(answer.status).toBe(200);
    slow.destroy();
    halfClosed.destroy();
    await expect.poll(() => server.engine.stats.running, { timeout: 10_000 }).toBe(0);
    expect(server.engine.stats.cacheBlocks.used).toBe(0);
    expect(server.errors).toEqual([]);
  });
});

test("limits: time, queue and body size", async () => {
  await using small = await TestServer.start({
    ...{ timeLimit: 300, maxBodyBytes: 2000 },
    engine: { cacheTokens: 2048, maxRunning: 1, maxWaiting: 1 },
  });
  const ask = (extra: object) =>
    fetch(`${small.listener.url}/v1/chat/completions`, { method: "POST", body: chat(extra) });
  const long = { max_tokens: 1500, temperature: 2, top_p: 1, seed: 1, logprobs: true };
  const statuses = await Promise.all(
    [long, long, long, long].map(async (extra) => (await ask(extra)).status),
  );
  expect(statuses.sort()).toEqual([408, 408, 429, 429]);
  expect((await ask({ user: "x".repeat(3000) })).status).toBe(413);
  const stream = await (await ask({ ...long, stream: true })).text();
  expect(stream).toMatch(/data: \{"error":\{"message":"the request took longer/);
  expect(small.engine.stats.running).toBe(0);
});
