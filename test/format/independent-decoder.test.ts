import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice, ops } from "../../kernels/index.ts";
import { parseRecipe, type Recipe } from "../../quantizer/index.ts";
import { quantizedEntries } from "../../quantizer/output.ts";
import {
  type JsonObject,
  openCheckpoint,
  parseQwenConfig,
  planShards,
  qwenBlockLinears,
  qwenTensorShapes,
  readQuantizationConfig,
  totalTensorBytes,
} from "../../runtime/checkpoint/index.ts";
import { decodeLinear } from "../../runtime/model/gptq-format.ts";
import { Weights } from "../../runtime/model/weights.ts";
import { bundledSegments, quantize, writeTwoBlocks } from "../quantizer/quantized.ts";
import { qwen1B8 } from "../runtime/checkpoint/published.ts";
import { sharedPath } from "../support/shared.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { expectSameBits, norm } from "../support/tolerance.ts";
import { type DecodedCheckpoint, readGptqCheckpoint } from "./independent-decoder.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const models = sharedPath("models");
const source = join(work.path, "source");

const originals = new Map<string, Float32Array<ArrayBuffer>>();

const recipes: Readonly<Record<string, Partial<Recipe>>> = {
  int4: {},
  int8: { bits: 8, maxShardBytes: 1_000_000 },
  "int4-act-order": { order: "act-order" },
  "int8-act-order": { bits: 8, order: "act-order" },
  "int4-asymmetric": { symmetric: false },
  "int8-asymmetric": { bits: 8, symmetric: false },
  "int4-g32": { groupSize: 32, maxShardBytes: 1_000_000 },
  "int4-per-channel": { groupSize: -1 },
  "int8-per-channel": { bits: 8, groupSize: -1 },
  "int4-bf16": { dtype: "bf16" },
  "int4-rtn": { method: "rtn" },
  "int4-plain": { signedScales: false, refine: "none" },
  int3: { bits: 3 },
  "int3-act-order-asymmetric": { bits: 3, order: "act-order", symmetric: false, groupSize: 32 },
  int2: { bits: 2, groupSize: 64, gptaq: 0 },
  "int2-rtn": { bits: 2, method: "rtn" },
};

beforeAll(async () => {
  writeTwoBlocks(source);
  using device = openDevice({ threads: 2 });
  const segments = bundledSegments(4, 128);
  for (const [name, recipe] of Object.entries(recipes)) {
    await quantize({ source, output: join(work.path, name), segments, recipe, device });
  }
  const original = readGptqCheckpoint(source);
  for (const linear of readGptqCheckpoint(join(work.path, "int4")).linears) {
    originals.set(linear, original.floats(`${linear}.weight`));
  }
});

/** Every quantized linear of a directory, as our runtime reads it and as the other decoder does. */
async function expectSameWeights(dir: string): Promise<DecodedCheckpoint> {
  const decoded = readGptqCheckpoint(dir);
  expect(decoded.linears.length).toBeGreaterThan(0);
  using device = openDevice({ threads: 2 });
  const checkpoint = openCheckpoint(dir);
  using weights = new Weights(checkpoint, device, undefined);
  const quantization = readQuantizationConfig(dir, checkpoint.config);
  if (quantization === undefined) throw new Error(`${dir} does not say that it is quantized`);
  for (const linear of decoded.linears) {
    const { values, ...shape } = decoded.decode(linear);
    const { weight } = decodeLinear(weights, linear, { ...shape, hasBias: false }, quantization);
    using ours = ops.dequantize(weight);
    expect(ours.shape).toEqual([shape.outFeatures, shape.inFeatures]);
    expectSameBits(await ours.read(), values, linear);
  }
  return decoded;
}

/** Name, dtype and shape of every tensor. */
function headerOf(dir: string): readonly (readonly [string, string])[] {
  return [...readGptqCheckpoint(dir).tensors]
    .map(([name, { dtype, shape }]) => [name, `${dtype} [${shape}]`] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

describe("a decoder that knows only the format", () => {
  test.each(Object.keys(recipes))(
    "reads our %s output to the bit as our runtime does",
    async (name) => {
      const decoded = await expectSameWeights(join(work.path, name));
      expect(decoded.linears).toHaveLength(10);
    },
  );

  test.each(Object.keys(recipes))("finds the source's weights in our %s output", (name) => {
    const decoded = readGptqCheckpoint(join(work.path, name));
    const { bits = 4, method, gptaq } = recipes[name] ?? {};
    // With GPTAQ on so little data, weights are moved by a third more.
    const moved = method === "rtn" || gptaq === 0 ? 1 : 1.5;
    for (const linear of decoded.linears) {
      const { values } = decoded.decode(linear);
      const expected = originals.get(linear) ?? new Float32Array();
      const difference = values.map((value, i) => value - expected[i]!);
      // Rounding gives a third of a step and GPTQ up to twice that. A step is about 0.37 (0.022 of 8 bits) of a normal
      // weight's deviation, which a zero wrong by one would add; a wrong group or order gives more than 1.
      const bound = { 2: 0.8, 3: 0.5, 4: 0.3, 8: 0.02 }[bits] ?? 0;
      expect(norm(difference) / norm(expected), linear).toBeLessThan(moved * bound);
    }
  });

  test.skipIf(models === undefined).each(["int4", "int8"])(
    "reads AutoGPTQ's %s file as our runtime does",
    async (kind) => {
      const dir = join(models ?? "", `qwen-mini-${kind}-autogptq`);
      const decoded = await expectSameWeights(dir);
      expect(decoded.linears).toHaveLength(40);
    },
  );

  test.skipIf(models === undefined).each(["int4", "int8"])(
    "finds the tensors of AutoGPTQ's %s file in ours, with their dtypes and shapes",
    (kind) => {
      const dir = join(models ?? "", `qwen-mini-${kind}-autogptq`);
      const isInTwoBlocks = ([name]: readonly [string, unknown]) => !/\.h\.[2-7]\./.test(name);
      const theirs = headerOf(dir).filter(isInTwoBlocks);
      expect(headerOf(join(work.path, kind))).toEqual(theirs);
    },
  );
});

describe("quantizedEntries", () => {
  test.each([
    { bits: 4, bytes: 1_878_036_480 },
    { bits: 8, bytes: 2_489_905_152 },
  ] as const)("gives Qwen-1.8B at $bits bits the official $bytes bytes", ({ bits, bytes }) => {
    const config = parseQwenConfig(qwen1B8 as JsonObject, "config.json");
    const linears = new Map(
      Array.from({ length: config.layers }, (_, layer) =>
        qwenBlockLinears(config).map(
          (linear) => [`transformer.h.${layer}.${linear.part}`, linear] as const,
        ),
      ).flat(),
    );
    const recipe = parseRecipe({ bits });
    const entries = quantizedEntries(qwenTensorShapes(config), linears, recipe);
    const plan = planShards(entries, recipe.maxShardBytes);
    expect(totalTensorBytes(plan)).toBe(bytes);
    const counted = entries.map(({ dtype, shape }) =>
      shape.reduce((product, extent) => product * extent, dtype === "I32" ? 4 : 2),
    );
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(bytes);
  });
});
