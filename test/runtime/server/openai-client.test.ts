// The official client, unchanged, against a server of the small model.
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generate, parseSamplingOptions } from "../../../runtime/index.ts";
import { chatPrompt, defaultSystem } from "../../../runtime/tokenizer/index.ts";
import { collect } from "../generation/generate-support.ts";
import { TestServer } from "./support.ts";

let server: TestServer;
let client: OpenAI;
beforeAll(async () => {
  server = await TestServer.start();
  client = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const model = "qwen-mini";
const greedy = { model, temperature: 0, repetition_penalty: 1 } as const;
const question = "Tom has 5 apples and buys 3 more. How many apples has he now?";
const messages = [{ role: "user", content: question }] as const;
const ask = (extra: object = {}) =>
  client.chat.completions.create({ ...greedy, messages: [...messages], max_tokens: 40, ...extra });

/** What the engine-free generation says. */
async function expected(maxNewTokens = 40): Promise<string> {
  const prompt = chatPrompt(server.tokenizer, {
    ...{ system: defaultSystem, history: [], query: question, maxWindow: 4096 },
  });
  const sampling = parseSamplingOptions({ temperature: 0 });
  const allowed = server.tokenizer.vocabularySize;
  const ids = await collect(
    generate(server.model, {
      prompt,
      maxNewTokens,
      sampling,
      allowed,
      stopIds: [[server.tokenizer.specials.imEnd]],
    }),
  );
  return server.tokenizer.decode(ids, { skipSpecial: true });
}

describe("the OpenAI client", () => {
  test("lists the model and gets an answer with its usage", async () => {
    const models = await client.models.list();
    expect(models.data.map(({ id }) => id)).toEqual([model]);
    expect((await client.models.retrieve(model)).object).toBe("model");
    const answer = await ask();
    const [choice] = answer.choices;
    expect(choice?.message).toMatchObject({ role: "assistant", content: await expected() });
    const tokens = server.tokenizer.encode(await expected()).length;
    expect(answer.usage?.completion_tokens).toBeGreaterThanOrEqual(tokens);
    expect(answer.usage?.total_tokens).toBe(
      answer.usage!.prompt_tokens + answer.usage!.completion_tokens,
    );
    expect(["stop", "length"]).toContain(choice?.finish_reason);
    expect((await ask({ max_tokens: 3 })).choices[0]?.finish_reason).toBe("length");
  });

  test("streams the same text in pieces, and usage where it is asked for", async () => {
    const stream = await client.chat.completions.create({
      ...greedy,
      ...{ messages: [...messages], max_completion_tokens: 40, stream: true },
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
    expect(text).toBe(await expected());
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toMatch(/stop|length/);
    expect(chunks.at(-1)?.usage?.completion_tokens).toBeGreaterThan(5);
    expect(chunks.length).toBeGreaterThan(10);
  });

  test("helps itself to the client's own accumulation of a stream", async () => {
    const runner = client.chat.completions.stream({
      ...greedy,
      messages: [...messages],
      max_tokens: 20,
    });
    expect((await runner.finalMessage()).content).toBe(await expected(20));
  });

  test("stops at strings, one or several, streamed or not", async () => {
    const full = await expected();
    const stop = full.slice(9, 13);
    const cut = full.slice(0, full.indexOf(stop));
    for (const given of [stop, ["never to be found", stop]]) {
      const [choice] = (await ask({ stop: given })).choices;
      expect(choice).toMatchObject({ message: { content: cut }, finish_reason: "stop" });
    }
    const stream = await client.chat.completions.create({
      ...greedy,
      ...{ messages: [...messages], max_tokens: 40, stream: true, stop },
    });
    const text = (await collect(stream))
      .map((each) => each.choices[0]?.delta.content ?? "")
      .join("");
    expect(text).toBe(cut);
  });

  test("gets log probabilities, the chosen token first among the most likely", async () => {
    const [choice] = (await ask({ logprobs: true, top_logprobs: 3, max_tokens: 8 })).choices;
    const told = choice!.logprobs!.content!;
    expect(told.map(({ token }) => token).join("")).toBe(choice!.message.content);
    for (const { token, logprob, bytes, top_logprobs } of told) {
      expect(top_logprobs).toHaveLength(3);
      expect(top_logprobs[0]).toMatchObject({ token, logprob });
      expect(Buffer.from(bytes!).toString()).toBe(token);
      expect(top_logprobs.reduce((sum, top) => sum + Math.exp(top.logprob), 0)).toBeLessThanOrEqual(
        1.000001,
      );
    }
  });

  test("draws the same for the same seed, and several answers with different ones", async () => {
    const draw = (seed: number, n: number) =>
      ask({ temperature: 1, top_p: 1, seed, n, max_tokens: 12 });
    const three = await draw(7, 3);
    expect(three.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    const texts = three.choices.map(({ message }) => message.content);
    expect(new Set(texts).size).toBeGreaterThan(1);
    expect((await draw(7, 1)).choices[0]?.message.content).toBe(texts[0]);
    expect((await draw(8, 1)).choices[0]?.message.content).toBe(texts[1]);
    const stream = await client.chat.completions.create({
      ...{ ...greedy, temperature: 1, top_p: 1, seed: 7, n: 3, max_tokens: 12 },
      ...{ messages: [...messages], stream: true },
    });
    const streamed = ["", "", ""];
    for await (const { choices } of stream) {
      for (const { index, delta } of choices) streamed[index] += delta.content ?? "";
    }
    expect(streamed).toEqual(texts);
  });

  test("continues prompts of text or ids, several at once", async () => {
    const prompts = ["It was a dark", "She said"];
    const options = { ...greedy, max_tokens: 8 };
    const both = await client.completions.create({ ...options, prompt: prompts, n: 2 });
    expect(both.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    for (const [i, prompt] of prompts.entries()) {
      const ids = [...server.tokenizer.encode(prompt)];
      const one = await client.completions.create({ ...options, prompt: ids, echo: true });
      expect(one.choices[0]?.text).toBe(prompt + both.choices[2 * i]!.text);
      const stream = await client.completions.create({
        ...options,
        prompt,
        stream: true,
        logprobs: 2,
      });
      const chunks = await collect(stream);
      expect(chunks.map(({ choices }) => choices[0]!.text).join("")).toBe(
        both.choices[2 * i]!.text,
      );
      expect(chunks.flatMap(({ choices }) => choices[0]!.logprobs?.tokens ?? [])).toHaveLength(8);
    }
  });

  test("gets JSON of a schema's shape, and JSON of any", async () => {
    const schema = {
      type: "object",
      properties: {
        name: { type: "string", maxLength: 12 },
        age: { type: "integer", minimum: 0, maximum: 150 },
        kind: { enum: ["cat", "dog"] },
      },
      required: ["name", "age", "kind"],
      additionalProperties: false,
    };
    for (const temperature of [0, 1]) {
      const { choices } = await ask({
        ...{ temperature, seed: 3, max_tokens: 200 },
        response_format: {
          type: "json_schema",
          json_schema: { name: "pet", schema, strict: true },
        },
      });
      expect(choices[0]?.finish_reason).toBe("stop");
      const pet = JSON.parse(choices[0]!.message.content!) as Record<string, unknown>;
      expect(Object.keys(pet)).toEqual(["name", "age", "kind"]);
      expect(["cat", "dog"]).toContain(pet["kind"]);
      expect(pet["age"]).toBeLessThanOrEqual(150);
    }
    const broken = { type: "json_schema", json_schema: { schema: { type: "no such type" } } };
    for (let i = 0; i < 2; i++) {
      await expect(ask({ response_format: broken })).rejects.toMatchObject({
        ...{ status: 400, code: "invalid_schema", param: "response_format" },
      });
      const any = await ask({ response_format: { type: "json_object" }, max_tokens: 5 });
      expect(any.choices[0]?.message.content?.trimStart()).toMatch(/^[{[]/);
    }
  });

  test("aborts: what the request held is free at once", async () => {
    const stream = await client.chat.completions.create({
      ...greedy,
      ...{ messages: [...messages], max_tokens: 1500, stream: true, stop: [], temperature: 1 },
    });
    let count = 0;
    for await (const _ of stream) {
      count += 1;
      if (count === 3) stream.controller.abort();
    }
    const controller = new AbortController();
    const waiting = client.chat.completions.create(
      { ...greedy, messages: [...messages], max_tokens: 1500, temperature: 1 },
      { signal: controller.signal },
    );
    setTimeout(() => controller.abort(), 30);
    await expect(waiting).rejects.toThrow(OpenAI.APIUserAbortError);
    await expect.poll(() => server.engine.stats.running).toBe(0);
    expect(server.engine.stats.cacheBlocks.used).toBe(0);
    expect(server.errors).toEqual([]);
  });

  test("needs the key where there is one", async () => {
    await using guarded = await TestServer.start({ credentials: { apiKey: "right" } });
    await expect(guarded.client("wrong").models.list()).rejects.toThrow(OpenAI.AuthenticationError);
    expect((await guarded.client("right").models.list()).data).toHaveLength(1);
    const health = await fetch(`${guarded.listener.url}/health`);
    expect(await health.json()).toEqual({ status: "ok" });
  });

  test("is told what is wrong in its own terms", async () => {
    const refused = (extra: object) => expect(ask(extra)).rejects;
    await refused({ model: "gpt-4" }).toThrow(OpenAI.NotFoundError);
    await refused({ temperature: -1 }).toMatchObject({ status: 400, param: "temperature" });
    await refused({ max_tokens: 5000 }).toMatchObject({ code: "context_length_exceeded" });
    await refused({ messages: [] }).toMatchObject({ param: "messages" });
    await refused({ messages: [{ role: "robot", content: "x" }] }).toThrow(OpenAI.BadRequestError);
    await refused({ n: 0 }).toMatchObject({ type: "invalid_request_error" });
  });
});
