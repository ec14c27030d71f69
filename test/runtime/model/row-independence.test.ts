// A row does not see its neighbours: no batching, chunking or number of threads changes a bit of an answer.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import {
  forward,
  KvCache,
  type Model,
  openModel,
  Step,
  stepOptions,
} from "../../../runtime/index.ts";
import { bundledSegments, quantize, writeTwoBlocks } from "../../quantizer/quantized.ts";
import { runnableIsas } from "../../support/kernels.ts";
import { sequenceLogits } from "../../support/logits.ts";
import { integers, seeded } from "../../support/random.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { expectSameBits } from "../../support/tolerance.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const kinds = ["bf16", "int4", "int4-act-order", "int8"] as const;

beforeAll(async () => {
  const source = join(work.path, "bf16");
  writeTwoBlocks(source);
  using device = openDevice({ threads: 2 });
  const segments = bundledSegments(4, 128);
  const recipes = {
    int4: { bits: 4 },
    "int4-act-order": { bits: 4, order: "act-order" },
    int8: { bits: 8 },
  } as const;
  for (const [name, recipe] of Object.entries(recipes)) {
    await quantize({ source, output: join(work.path, name), segments, recipe, device });
  }
});

type Sequence = {
  /** Tokens of the first step. */
  readonly prompt: Int32Array;
  /** Tokens of the second: one is a decode row, several are another chunk of the prompt. */
  readonly next: Int32Array;
  /** What it was prompted with decides its rotary base. */
  readonly promptLength: number;
};

const tokens = (length: number, seed: number) => integers(length, 4096, seeded(seed));
const probe: Sequence = { prompt: tokens(20, 1), next: tokens(1, 2), promptLength: 20 };

/** Other sequences of other lengths, some of them beyond the trained length for NTK's sake, some still prefilling. */
function others(count: number): readonly Sequence[] {
  return Array.from({ length: count }, (_, i) => ({
    prompt: tokens(1 + (i % 3), 10 + i),
    next: tokens(i % 4 === 3 ? 3 : 1, 1000 + i),
    promptLength: i % 5 === 4 ? 700 : 3,
  }));
}

/** Logits of the sequence at `at`, [prompt + next, vocabulary], with all sequences in the same two steps. */
async function logitsAmong(
  model: Model,
  sequences: readonly Sequence[],
  at: number,
): Promise<Float32Array<ArrayBuffer>> {
  const { device, shape } = model;
  using cache = new KvCache(device, { ...shape, tokens: sequences.length * 64 });
  const places = sequences.map(() => cache.open());
  const results: Float32Array[] = [];
  for (const stage of ["prompt", "next"] as const) {
    const parts = sequences.map((sequence, i) => {
      const place = places[i]!;
      const start = place.length;
      cache.extend(place, sequence[stage].length);
      const ropeBase = model.ropeBase(sequence.promptLength);
      return { tokens: sequence[stage], start, blocks: place.blocks, ropeBase };
    });
    using step = new Step(device, parts, stepOptions(model));
    using hidden = forward(model, step, cache);
    using logits = model.logits(hidden);
    const first = parts.slice(0, at).reduce((sum, part) => sum + part.tokens.length, 0);
    const all = await logits.read();
    const { length } = parts[at]!.tokens;
    results.push(all.subarray(first * shape.vocabulary, (first + length) * shape.vocabulary));
  }
  return Float32Array.from(results.flatMap((part) => [...part]));
}

describe.each(runnableIsas)("on %s", (isa) => {
  describe.each(kinds)("logits of the %s model", (kind) => {
    const dir = join(work.path, kind);

    test("are the same bits for a sequence alone and among 2, 7, 16 and 100 others", async () => {
      using device = openDevice({ threads: 2, isa });
      using model = openModel(dir, device);
      const alone = await logitsAmong(model, [probe], 0);
      expect(alone.every((value) => Number.isFinite(value))).toBe(true);
      for (const count of [2, 7, 16, 100]) {
        const at = count >> 1;
        const sequences = others(count).toSpliced(at, 0, probe);
        const among = await logitsAmong(model, sequences, at);
        expectSameBits(among, alone, `among ${count}`);
      }
    });

    test("are the same bits for one, two and three threads", async () => {
      const ids = tokens(80, 3);
      const results: Float32Array<ArrayBuffer>[] = [];
      for (const threads of [1, 2, 3]) {
        using device = openDevice({ threads, isa });
        using model = openModel(dir, device);
        results.push(await sequenceLogits(model, ids));
      }
      const [one, two, three] = results as [Float32Array<ArrayBuffer>, ...typeof results];
      expectSameBits(two!, one, "two threads");
      expectSameBits(three!, one, "three threads");
    });

    test("are the same bits however a prompt is cut into chunks", async () => {
      using device = openDevice({ threads: 2, isa });
      using model = openModel(dir, device);
      const ids = tokens(80, 4);
      const whole = await sequenceLogits(model, ids);
      for (const chunks of [
        [1, 79],
        [9, 64, 7],
        [70, ...Array.from({ length: 10 }, () => 1)],
      ]) {
        expectSameBits(await sequenceLogits(model, ids, chunks), whole, `chunks ${chunks}`);
      }
    });
  });
});
