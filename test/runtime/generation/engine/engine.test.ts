import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, openDevice } from "../../../../kernels/index.ts";
import {
  type Completion,
  type CompletionDelta,
  Engine,
  type EngineOptions,
  type EngineRequest,
  generate,
  type Model,
  openModel,
  openQwenTokenizer,
  parseSamplingOptions,
  type Tokenizer,
} from "../../../../runtime/index.ts";
import { collect, greedy, miniPath } from "../generate-support.ts";

let device: Device;
let model: Model;
let coarse: Model;
let tokenizer: Tokenizer;
beforeAll(() => {
  device = openDevice({ threads: 2 });
  model = openModel(miniPath, device, { kvCache: "f16" });
  coarse = openModel(miniPath, device, { kvCache: "int8" });
  tokenizer = openQwenTokenizer(miniPath);
});
afterAll(() => {
  tokenizer[Symbol.dispose]();
  model[Symbol.dispose]();
  coarse[Symbol.dispose]();
  device[Symbol.dispose]();
});

const openEngine = (options: Partial<EngineOptions> = {}, of = model) =>
  new Engine(of, tokenizer, { cacheTokens: 8192, ...options });
const prompt = (length: number, factor = 37) =>
  Int32Array.from({ length }, (_, i) => (i * factor + factor) % 3000);
const request = (changes: Partial<EngineRequest> = {}): EngineRequest => ({
  prompt: prompt(70),
  maxNewTokens: 24,
  sampling: greedy,
  ...changes,
});
const idsOf = async (completion: Completion) =>
  (await collect(completion)).flatMap(({ id }) => id ?? []);
const alone = (requested: EngineRequest, of = model) => {
  const { constraint, logprobs, stop, ...rest } = requested;
  return collect(generate(of, { ...rest, allowed: tokenizer.vocabularySize }));
};

/** Of all lengths, greedy and drawn, some with the same beginning. */
function sixteen(): EngineRequest[] {
  return Array.from({ length: 16 }, (_, i) =>
    request({
      prompt: i % 4 === 3 ? [...prompt(70), ...prompt(i, 11)] : prompt(1 + i * 19, 7 + i),
      maxNewTokens: 5 + 3 * i,
      sampling:
        i % 3 === 1 ? parseSamplingOptions({ temperature: 0.8, topP: 0.9, seed: i }) : greedy,
    }),
  );
}

describe("an engine", () => {
  test.each<[string, Partial<EngineOptions>]>([
    ["as it is", {}],
    ["with prompts in chunks of 7", { chunkRows: 7, sharedChunkRows: 7 }],
    ["without prefix reuse", { sharesPrefixes: false }],
    ["of three at a time", { maxRunning: 3 }],
    ["whose cache is nearly too small", { cacheTokens: 416 }],
  ])("%s gives each of 16 requests the tokens that it gets alone", async (_, options) => {
    for (const of of [model, coarse]) {
      await using engine = openEngine(options, of);
      const requests = sixteen();
      const together = await Promise.all(requests.map((each) => idsOf(engine.submit(each))));
      for (const [i, each] of requests.entries())
        expect(together[i]).toEqual(await alone(each, of));
      // Once more, now that the cache is full of what was.
      const again = await Promise.all(requests.map((each) => idsOf(engine.submit(each))));
      expect(again).toEqual(together);
      const { stats } = engine;
      expect([stats.running, stats.waiting, stats.cacheBlocks.used]).toEqual([0, 0, 0]);
      if (options.sharesPrefixes === false) expect(stats.reusedTokens).toBe(0);
      else expect(stats.reusedTokens).toBeGreaterThan(64);
    }
  });

  test("computes the part of a prompt that a request before it had only once", async () => {
    await using engine = openEngine();
    await collect(engine.submit(request()));
    const completion = engine.submit(request({ prompt: [...prompt(70), 5, 6, 7] }));
    const ids = await idsOf(completion);
    expect(completion.reusedTokens).toBe(64);
    expect(ids).toEqual(await alone(request({ prompt: [...prompt(70), 5, 6, 7] })));
  });

  test("frees a cancelled request's blocks in the same turn and leaves the others alone", async () => {
    await using engine = openEngine();
    const expected = await alone(request());
    const controller = new AbortController();
    const long = { prompt: prompt(300, 5), maxNewTokens: 500 };
    const cancelled = engine.submit(request({ ...long, signal: controller.signal }));
    const other = idsOf(engine.submit(request()));
    const seen: CompletionDelta[] = [];
    const reading = (async () => {
      for await (const delta of cancelled) {
        seen.push(delta);
        if (seen.length !== 3) continue;
        const before = engine.stats.cacheBlocks.used;
        controller.abort(new Error("gone"));
        expect(engine.stats.cacheBlocks.used).toBeLessThanOrEqual(before - 10);
      }
    })();
    await expect(reading).rejects.toThrow("gone");
    expect(await other).toEqual(expected);
    expect(engine.stats.cacheBlocks.used).toBe(0);
  });

  test("ends what is not read to its end, waits in turn, and refuses what never fits", async () => {
    await using engine = openEngine({ cacheTokens: 128, maxWaiting: 1 });
    const first = engine.submit(request({ maxNewTokens: 50 }));
    for await (const _ of first) break;
    expect(engine.stats.running).toBe(0);
    expect(() => engine.submit(request({ maxNewTokens: 59 }))).toThrow(/never fit/);
    const running = idsOf(engine.submit(request({ maxNewTokens: 50 })));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const waiting = idsOf(engine.submit(request({ maxNewTokens: 50, prompt: prompt(70, 9) })));
    expect(() => engine.submit(request())).toThrow(
      expect.objectContaining({ code: "GENERATION_BUSY" }),
    );
    expect(engine.stats.waiting).toBe(1);
    expect(await running).toEqual(await alone(request({ maxNewTokens: 50 })));
    expect(await waiting).toHaveLength(50);
  });

  test("cancels all at its end", async () => {
    const engine = openEngine();
    const completion = collect(engine.submit(request({ maxNewTokens: 500 })));
    const failed = expect(completion).rejects.toThrow("has ended");
    await engine[Symbol.asyncDispose]();
    await failed;
    expect(() => engine.submit(request())).toThrow("has ended");
  });

  test("ends at strings cut across tokens and tells what probabilities tokens had", async () => {
    await using engine = openEngine();
    const ask = (changes: Partial<EngineRequest>) =>
      collect(engine.submit(request({ prompt: tokenizer.encode("It was a dark"), ...changes })));
    const free = (await ask({})).map(({ text }) => text).join("");
    const stop = free.slice(11, 16);
    const stopped = await ask({ stop: { strings: [stop] } });
    expect(stopped.map(({ text }) => text).join("")).toBe(free.slice(0, free.indexOf(stop)));
    expect(stopped.at(-1)?.finish).toBe("stop");
    const told = await ask({ logprobs: 3 });
    expect(told.map(({ text }) => text).join("")).toBe(free);
    for (const { id, logprobs } of told) {
      expect(logprobs?.top[0]).toEqual({ id, logprob: logprobs?.logprob });
      expect(logprobs!.top[1]!.logprob).toBeLessThanOrEqual(logprobs!.logprob);
      expect(logprobs!.logprob).toBeLessThan(0);
    }
    expect(told.at(-1)?.finish).toBe("length");
  });

  test("draws the same beside one that needs logits on the host", async () => {
    await using engine = openEngine();
    const sampling = parseSamplingOptions({ temperature: 0.9, repetitionPenalty: 1.2, seed: 3 });
    const requests = [
      request({ sampling, maxNewTokens: 30 }),
      request({ sampling: { ...sampling, frequencyPenalty: 0.3 }, prompt: prompt(20, 11) }),
    ];
    // The neighbour comes and goes while they run.
    const together = requests.map((each) => idsOf(engine.submit(each)));
    const told = await idsOf(engine.submit(request({ sampling, logprobs: 2, maxNewTokens: 10 })));
    expect(told).toEqual((await alone(requests[0]!)).slice(0, 10));
    for (const [i, each] of requests.entries()) {
      expect(await together[i]).toEqual(await alone(each));
    }
  });

  test("lets a constraint decide what may come next", async () => {
    await using engine = openEngine();
    const order = [7, 500, 3000, 31];
    let at = 0;
    let isDisposed = false;
    const constraint = {
      mask: async () => {
        const mask = new Int32Array(128);
        mask[order[at]! >> 5]! |= 1 << (order[at]! & 31);
        return mask;
      },
      accept: (id: number) => {
        expect(id).toBe(order[at]);
        at += 1;
      },
      [Symbol.dispose]: () => {
        isDisposed = true;
      },
    };
    const sampling = parseSamplingOptions({ temperature: 1, minP: 0.5 });
    const ids = await idsOf(engine.submit(request({ constraint, maxNewTokens: 3, sampling })));
    expect(ids).toEqual([7, 500, 3000]);
    expect(isDisposed).toBe(true);
  });
});
