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
    maxNewTokens: 3 + 2 * i,
    sampling: kind === "greedy" ? greedy : parseSamplingOptions(drawn),
    logprobs: kind === "logits" ? 2 : undefined,
  };
}

const requests = (kind: Kind, count: number) =>
  Array.from({ length: count }, (_, i) => request(kind, i));
const told = (deltas: readonly CompletionDelta[]) =>
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

const idsOf = (results: readonly (readonly Pick<CompletionDelta, "id">[])[]) =>
  results.map((each) => each.map(({ id }) => id));

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
    // Batches grow too: each that begins brings the next along.
    const growing = asked.map(async (each, i) => {
      for (let turn = 0; turn < 20 * i; turn++) await undefined;
      return await ask(engine, each);
    });
    expect(await Promise.all(growing)).toEqual(alone);
    expect(capture).toHaveBeenCalledTimes(5);
    const { running, cacheBlocks } = engine.stats;
    expect([running, cacheBlocks.used]).toEqual([0, 0]);
    using processor = new Place("scalar");
    await using exact = processor.engine();
    const there = await together(exact, asked);
    expect(idsOf(there)).toEqual(idsOf(alone));
  });
});
