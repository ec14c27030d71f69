// Batches filled up with idle rows, on CUDA's kernels.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Device } from "../../../../kernels/index.ts";
import { bucketOf } from "../../../../runtime/generation/engine/idle-rows.ts";
import {
  type CompletionDelta,
  cacheBytesPerToken,
  cacheTokensWithin,
  Engine,
  type EngineOptions,
  type EngineRequest,
  type Model,
  type OpenModelOptions,
  openModel,
  openQwenTokenizer,
  parseSamplingOptions,
  type Tokenizer,
} from "../../../../runtime/index.ts";
import { type Implementation, openImplementation } from "../../../support/kernels.ts";
import { temporaryDirectory, writeTinyQwen } from "../../../support/tiny-checkpoint.ts";
import { collect, greedy, miniPath } from "../generate-support.ts";

const work = temporaryDirectory();
const source = join(work.path, "tiny");
let tokenizer: Tokenizer;
beforeAll(() => {
  writeTinyQwen(source);
  tokenizer = openQwenTokenizer(miniPath);
});
afterAll(() => {
  tokenizer[Symbol.dispose]();
  work.remove();
});

/** A device with the tiny model on it. */
class Place implements Disposable {
  readonly device: Device;
  readonly model: Model;

  constructor(implementation: Implementation, options: OpenModelOptions = {}) {
    this.device = openImplementation(implementation);
    this.model = openModel(source, this.device, { kvCache: "f16", ...options });
  }

  engine(options: Partial<EngineOptions> = {}): Engine {
    return new Engine(this.model, tokenizer, { cacheTokens: 1024, ...options });
  }

  [Symbol.dispose](): void {
    this.model[Symbol.dispose]();
    this.device[Symbol.dispose]();
  }
}

const kinds = ["greedy", "drawn", "logits"] as const;
type Kind = (typeof kinds)[number];

/** The i-th of requests of all lengths, which end one after another. */
function request(kind: Kind, i: number): EngineRequest {
  const drawn = { temperature: 1.5, repetitionPenalty: 1.1, frequencyPenalty: 0.2, seed: i };
  return {
    prompt: Array.from({ length: 1 + ((i * 5) % 17) }, (_, at) => (7 * at + 13 * i) % 128),
    maxNewTokens: 3 + i,
    sampling: kind === "greedy" ? greedy : parseSamplingOptions(drawn),
    logprobs: kind === "logits" ? 2 : undefined,
  };
}

const requests = (kind: Kind, count: number) =>
  Array.from({ length: count }, (_, i) => request(kind, i));
type Told = readonly Pick<CompletionDelta, "id" | "logprobs">[];
const told = (deltas: readonly CompletionDelta[]): Told =>
  deltas.map(({ id, logprobs }) => ({ id, logprobs }));
const ask = async (engine: Engine, asked: EngineRequest) =>
  told(await collect(engine.submit(asked)));
const together = (engine: Engine, asked: readonly EngineRequest[]) =>
  Promise.all(asked.map((each) => ask(engine, each)));

/** One after another: no step has an idle row. */
async function oneByOne(place: Place, asked: readonly EngineRequest[]) {
  await using engine = place.engine();
  const results = [];
  for (const each of asked) results.push(await ask(engine, each));
  return results;
}

/** Each begins when the one before it has two tokens, and some go meanwhile. */
async function inTurn(engine: Engine, [first, ...rest]: readonly EngineRequest[]): Promise<Told[]> {
  if (first === undefined) return [];
  let others: Promise<Told[]> | undefined;
  const deltas: CompletionDelta[] = [];
  for await (const delta of engine.submit(first)) {
    deltas.push(delta);
    if (deltas.length === 2) others = inTurn(engine, rest);
  }
  return [told(deltas), ...((await others) ?? [])];
}

const idsOf = (results: readonly Told[]) => results.map((each) => each.map(({ id }) => id));

describe("the size of a captured batch", () => {
  test.each([
    [1, 1],
    [2, 2],
    [3, 4],
    [5, 8],
    [9, 16],
    [16, 16],
    [17, 24],
    [25, 32],
    [33, 48],
    [49, 64],
    [65, 96],
    [96, 96],
    [97, 128],
  ])("for %i rows is %i", (batch, size) => {
    expect(bucketOf(batch)).toBe(size);
  });

  test("holds the batch, and is idle for less than a half or, of many rows, a third", () => {
    for (let batch = 1; batch <= 600; batch++) {
      const idle = bucketOf(batch) - batch;
      expect(idle).toBeGreaterThanOrEqual(0);
      expect(idle / bucketOf(batch)).toBeLessThan(batch < 17 ? 1 / 2 : 1 / 3);
    }
  });
});

describe("an engine on cuda", () => {
  test.each(kinds)("fills up batches of 9 to 1, %s, and changes nothing", async (kind) => {
    using place = new Place("cuda");
    const asked = requests(kind, 9);
    const alone = await oneByOne(place, asked);
    const capture = vi.spyOn(place.device, "capture");
    await using engine = place.engine();
    expect(await together(engine, asked)).toEqual(alone);
    // 16, 8, 4, 2, 1
    expect(capture).toHaveBeenCalledTimes(5);
    expect(await inTurn(engine, asked)).toEqual(alone);
    expect(capture).toHaveBeenCalledTimes(5);
    const { running, cacheBlocks } = engine.stats;
    expect([running, cacheBlocks.used]).toEqual([0, 0]);
    using processor = new Place("scalar");
    await using exact = processor.engine();
    const there = await together(exact, asked);
    expect(idsOf(there)).toEqual(idsOf(alone));
  });

  test.each(["f16", "int8"] as const)(
    "leaves each block of a full cache of %s to those who have it",
    async (kvCache) => {
      using place = new Place("cuda", { kvCache });
      const asked = [1, 2, 3].map((i) => ({
        prompt: Array.from({ length: 10 }, (_, at) => (5 * at + 31 * i) % 128),
        maxNewTokens: 22,
        sampling: greedy,
      }));
      const alone = await oneByOne(place, asked);
      await using engine = place.engine({ cacheTokens: 3 * 32 });
      const used: number[] = [];
      const reading = asked.map(async (each) => {
        const deltas: CompletionDelta[] = [];
        for await (const delta of engine.submit(each)) {
          deltas.push(delta);
          used.push(engine.stats.cacheBlocks.used);
        }
        return told(deltas);
      });
      expect(await Promise.all(reading)).toEqual(alone);
      expect(engine.stats.cacheBlocks.total).toBe(6);
      expect(Math.max(...used)).toBe(6);
      expect(() => engine.submit({ ...request("greedy", 0), maxNewTokens: 96 })).toThrow(
        /never fit/,
      );
    },
  );

  test("goes on as before when some of a batch are cancelled and others wait", async () => {
    using place = new Place("cuda");
    const asked = requests("greedy", 7);
    const alone = await oneByOne(place, asked);
    await using engine = place.engine({ maxRunning: 5, sharesPrefixes: false });
    const controller = new AbortController();
    const gone = [11, 12].map((i) =>
      collect(engine.submit({ ...request("greedy", i), signal: controller.signal })),
    );
    const failed = Promise.all(gone.map((each) => expect(each).rejects.toThrow("gone")));
    const others = asked.map(async (each, i) => {
      const deltas: CompletionDelta[] = [];
      for await (const delta of engine.submit(each)) {
        if (deltas.push(delta) === 2 && i === 1) controller.abort(new Error("gone"));
      }
      return told(deltas);
    });
    expect(await Promise.all(others)).toEqual(alone);
    await failed;
    expect(engine.stats.cacheBlocks.used).toBe(0);
  });

  test("takes the memory of one block more than on the processor, which is counted", async () => {
    for (const [implementation, idle] of [
      ["scalar", 0],
      ["cuda", 16],
    ] as const) {
      using place = new Place(implementation);
      const perToken = cacheBytesPerToken({ ...place.model.shape, dtype: "f16" });
      expect(cacheTokensWithin(place.model, 500 * perToken)).toBe(500 - idle);
      expect(cacheTokensWithin(place.model, perToken - 1)).toBe(0);
      const before = place.device.memory().live;
      await using engine = place.engine({ cacheTokens: 320 });
      expect(place.device.memory().live - before).toBe((320 + idle) * perToken);
      expect(engine.stats.cacheBlocks.total).toBe(20);
      expect(engine.maxLength).toBe(256);
    }
  });
});
