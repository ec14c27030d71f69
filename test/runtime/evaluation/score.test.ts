// Scores do not depend on how the work is cut, and are what their definitions say.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, openDevice } from "../../../kernels/index.ts";
import { cutWindows, openModel, scoreModels } from "../../../runtime/index.ts";
import { quantize, tinySegments, writeTinyModel } from "../../quantizer/quantized.ts";
import { sequenceLogits } from "../../support/logits.ts";
import { integers, seeded } from "../../support/random.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const float = join(work.path, "float");
const packed = join(work.path, "packed");
const tokens = integers(230, 128, seeded(7));

beforeAll(async () => {
  writeTinyModel(float);
  using device = openDevice({ threads: 1 });
  const recipe = { method: "rtn", groupSize: 32 } as const;
  await quantize({ source: float, output: packed, segments: tinySegments(1, 8), recipe, device });
});

async function score(
  windows: { length: number; stride: number },
  cut: { batchRows?: number; roundTokens?: number } = {},
) {
  using device = openDevice({ threads: 2 });
  using first = openModel(float, device);
  using second = openModel(packed, device);
  return await scoreModels([first, second], cutWindows(tokens, windows), cut);
}

/** Log-probabilities of the model at each position, in double precision from its logits. */
async function logProbabilities(device: Device, dir: string, ids: Int32Array) {
  using model = openModel(dir, device);
  const logits = await sequenceLogits(model, ids);
  const { vocabulary } = model.shape;
  return Array.from(ids, (_, row) => {
    const values = [...logits.subarray(row * vocabulary, (row + 1) * vocabulary)];
    const sum = Math.log(values.reduce((total, value) => total + Math.exp(value), 0));
    return values.map((value) => value - sum);
  });
}

describe.each([
  ["without overlap", { length: 20, stride: 20 }],
  ["with overlap", { length: 50, stride: 30 }],
  ["beyond the trained length", { length: 100, stride: 100 }],
])("windows %s", (_name, windows) => {
  test("score the same bits however rows and rounds are cut", async () => {
    const whole = await score(windows);
    for (const cut of [
      { batchRows: 1 },
      { batchRows: 7, roundTokens: 1 },
      { batchRows: 45, roundTokens: 110 },
      { batchRows: 1000, roundTokens: 1000 },
    ]) {
      expect(await score(windows, cut)).toEqual(whole);
    }
  });

  test("score what a pass over each window alone gives", async () => {
    const [original, quantized] = await score(windows, { batchRows: 30 });
    using device = openDevice({ threads: 2 });
    const losses: number[] = [];
    const divergences: number[] = [];
    for (const { tokens: ids, firstScored } of cutWindows(tokens, windows)) {
      const p = await logProbabilities(device, float, ids);
      const q = await logProbabilities(device, packed, ids);
      for (let at = firstScored; at < ids.length; at++) {
        losses.push(-p[at - 1]![ids[at]!]!);
        divergences.push(
          p[at - 1]!.reduce((sum, lp, id) => sum + Math.exp(lp) * (lp - q[at - 1]![id]!), 0),
        );
      }
    }
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length;
    expect(original?.tokens).toBe(losses.length);
    expect(original?.loss).toBeCloseTo(mean(losses), 5);
    expect(quantized?.divergence?.meanKl).toBeCloseTo(mean(divergences), 5);
  });
});

test("progress rises to all of the work", async () => {
  using device = openDevice({ threads: 1 });
  using model = openModel(float, device);
  const seen: number[] = [];
  await scoreModels([model, model], cutWindows(tokens, { length: 30, stride: 10 }), {
    ...{ roundTokens: 64, onProgress: (fraction: number) => seen.push(fraction) },
  });
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(seen.at(-1)).toBeCloseTo(1, 12);
});

test("an abort ends it with the signal's reason", async () => {
  using device = openDevice({ threads: 1 });
  using model = openModel(float, device);
  const controller = new AbortController();
  const stopped = scoreModels([model], cutWindows(tokens, { length: 30, stride: 10 }), {
    signal: controller.signal,
    onProgress: () => controller.abort(new Error("enough")),
  });
  await expect(stopped).rejects.toThrow("enough");
});

describe("NTK and LogN of config.json can be overridden", () => {
  const lossOf = async (length: number, longContext: { dynamicNtk?: boolean; logn?: boolean }) => {
    using device = openDevice({ threads: 1 });
    using model = openModel(float, device, { longContext });
    const [scored] = await scoreModels([model], cutWindows(tokens, { length, stride: length }));
    return scored?.loss;
  };

  test("each changes what comes beyond the trained length, and nothing before it", async () => {
    const settings = [
      ...[{}, { dynamicNtk: false }, { logn: false }],
      { dynamicNtk: false, logn: false },
    ];
    const beyond = await Promise.all(settings.map((setting) => lossOf(200, setting)));
    expect(new Set(beyond).size).toBe(4);
    const within = await Promise.all(settings.map((setting) => lossOf(64, setting)));
    expect(new Set(within).size).toBe(1);
  });

  test("what is left out stays as config.json has it", async () => {
    using device = openDevice({ threads: 1 });
    using model = openModel(float, device, { longContext: { logn: false } });
    expect(model.longContext).toEqual({ dynamicNtk: true, logn: false });
    expect(await lossOf(200, { dynamicNtk: true, logn: true })).toBe(await lossOf(200, {}));
  });
});
