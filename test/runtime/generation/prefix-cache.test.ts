import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, openDevice } from "../../../kernels/index.ts";
import { generate, type Model, PrefixCache } from "../../../runtime/index.ts";
import { collect, openMini, request } from "./generate-support.ts";

let device: Device;
let model: Model;
beforeAll(() => {
  device = openDevice({ threads: 2 });
  model = openMini(device);
});
afterAll(() => {
  model[Symbol.dispose]();
  device[Symbol.dispose]();
});

const tokens = (count: number, factor = 37) =>
  Array.from({ length: count }, (_, i) => (i * factor) % 3000);
const fresh = (prompt: readonly number[]) => collect(generate(model, request(model, { prompt })));

describe("a cache of the last sequence", () => {
  test("changes no token, whatever the next prompt has in common with it", async () => {
    using cache = new PrefixCache(4);
    const first = tokens(100);
    const answer = await fresh(first);
    const prompts: readonly (readonly [prompt: readonly number[], reused: number])[] = [
      [first, 0],
      [first, 99],
      // The last token generated was never computed.
      [[...first, ...answer, 5, 6], 100 + answer.length - 1],
      [[...first.slice(0, 70), 9, 9, 9], 70],
      [tokens(30, 41), 1],
      [first, 1],
      [[7], 0],
    ];
    for (const [prompt, reused] of prompts) {
      const ids = await collect(generate(model, request(model, { prompt, cache })));
      expect(ids).toEqual(await fresh(prompt));
      expect(cache.reused).toBe(reused);
    }
  });

  test("starts afresh where the prompt has outgrown its room or its rotary base", async () => {
    using cache = new PrefixCache();
    const long = tokens(400);
    for (const prompt of [
      long.slice(0, 100),
      long.slice(0, 200),
      long,
      [...long, ...tokens(200)],
    ]) {
      const ids = await collect(generate(model, request(model, { prompt, cache })));
      expect(ids).toEqual(await fresh(prompt));
      expect(cache.reused).toBe(0);
    }
  });

  test("survives a request that was given up", async () => {
    using cache = new PrefixCache(4);
    const prompt = tokens(80);
    for await (const _ of generate(model, request(model, { prompt, cache }))) break;
    const longer = [...prompt, 1, 2, 3];
    const ids = await collect(generate(model, request(model, { prompt: longer, cache })));
    expect(ids).toEqual(await fresh(longer));
    expect(cache.reused).toBe(80);
  });
});
