import { ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parseRecipe, type Recipe } from "../../../quantizer/index.ts";
import { quantizedEntries } from "../../../quantizer/output.ts";
import {
  type JsonObject,
  openCheckpoint,
  parseQwenConfig,
  planShards,
  quantizedTensorEntries,
  qwenBlockLinears,
  qwenTensorShapes,
  readQuantizationConfig,
  readSafetensorsHeader,
  requireTensor,
  totalTensorBytes,
} from "../../../runtime/checkpoint/index.ts";
import { encodeHeader } from "../../../runtime/checkpoint/safetensors.ts";
import { sharedPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { publishedSizes, qwen1B8, qwen7b } from "./published.ts";
import { refusal } from "./refusal.ts";

const directory = temporaryDirectory();
afterAll(directory.remove);

function config(raw: Readonly<Record<string, unknown>>) {
  return parseQwenConfig(raw as JsonObject, "config.json");
}

/** What the quantizer writes of a model. */
function layoutOf(raw: Readonly<Record<string, unknown>>, recipe: Partial<Recipe>) {
  const parsed = config(raw);
  const linears = Array.from({ length: parsed.layers }, (_, layer) =>
    qwenBlockLinears(parsed).map(
      (linear) => [`transformer.h.${layer}.${linear.part}`, linear] as const,
    ),
  );
  return quantizedEntries(qwenTensorShapes(parsed), new Map(linears.flat()), parseRecipe(recipe));
}

describe("quantizedTensorEntries", () => {
  it("lays out the 7B down projection at 4 bits as AutoGPTQ does", () => {
    const size = { inFeatures: 11008, outFeatures: 4096 };
    const layout = { bits: 4, groupSize: 128, floatDtype: "F16", hasBias: true } as const;
    expect(quantizedTensorEntries("m", size, layout)).toEqual([
      { name: "m.qweight", dtype: "I32", shape: [1376, 4096] },
      { name: "m.qzeros", dtype: "I32", shape: [86, 512] },
      { name: "m.scales", dtype: "F16", shape: [86, 4096] },
      { name: "m.g_idx", dtype: "I32", shape: [11008] },
      { name: "m.bias", dtype: "F16", shape: [4096] },
    ]);
  });

  it("has one group at group size -1, and no bias unless asked", () => {
    const size = { inFeatures: 64, outFeatures: 32 };
    const layout = { bits: 8, groupSize: -1, floatDtype: "BF16", hasBias: false } as const;
    expect(quantizedTensorEntries("m", size, layout)).toEqual([
      { name: "m.qweight", dtype: "I32", shape: [16, 32] },
      { name: "m.qzeros", dtype: "I32", shape: [1, 8] },
      { name: "m.scales", dtype: "BF16", shape: [1, 32] },
      { name: "m.g_idx", dtype: "I32", shape: [64] },
    ]);
  });

  it.each([
    { title: "in features beside 32", inFeatures: 48, outFeatures: 32, groupSize: 16, names: "48" },
    {
      title: "out features beside 32",
      inFeatures: 64,
      outFeatures: 40,
      groupSize: 32,
      names: "40",
    },
    {
      title: "a group that does not fit",
      inFeatures: 96,
      outFeatures: 32,
      groupSize: 64,
      names: "64",
    },
    {
      title: "a group larger than the input",
      inFeatures: 64,
      outFeatures: 32,
      groupSize: 128,
      names: "128",
    },
  ])("refuses $title and names the linear", ({ inFeatures, outFeatures, groupSize, names }) => {
    const layout = { bits: 4, groupSize, floatDtype: "F16", hasBias: false } as const;
    const size = { inFeatures, outFeatures };
    const error = refusal(() => quantizedTensorEntries("transformer.h.3.mlp.w1", size, layout));
    expect(error.code).toBe("CHECKPOINT_UNSUPPORTED");
    expect(error.message).toContain("transformer.h.3.mlp.w1");
    expect(error.message).toContain(names);
  });
});

describe("the layout of a whole model", () => {
  it.each(publishedSizes)("comes to the exact bytes of $model", ({ config: raw, ...expected }) => {
    const bytes = ([4, 8] as const).map((bits) => {
      const entries = layoutOf(raw, { bits });
      return totalTensorBytes(planShards(entries, 2e9));
    });
    expect(bytes).toEqual([expected.int4Bytes, expected.int8Bytes]);
  });

  it.each([
    { bits: 4, total: 1_878_036_480 },
    { bits: 8, total: 2_489_905_152 },
  ] as const)(
    "re-sums to the bytes of 1.8B from a file of $bits bits on the disk",
    ({ bits, total }) => {
      const entries = layoutOf(qwen1B8, { bits });
      const { header, fileBytes } = encodeHeader(entries, new Map([["format", "pt"]]));
      const path = join(directory.path, `int${bits}.safetensors`);
      const fd = openSync(path, "w");
      writeSync(fd, header);
      // A hole: the file has its full length and takes no space.
      ftruncateSync(fd, fileBytes);
      const tensors = [...readSafetensorsHeader(path).tensors.values()];
      expect(tensors.reduce((sum, { begin, end }) => sum + end - begin, 0)).toBe(total);
      expect(tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(entries);
      expect(tensors.every(({ begin, dtype }) => begin % (dtype === "I32" ? 4 : 2) === 0)).toBe(
        true,
      );
    },
  );

  it("writes 27 tensors per block with all biases, 23 with those of the source", () => {
    const count = (zeroBias: boolean) => layoutOf(qwen7b, { zeroBias }).length;
    expect(count(true)).toBe(32 * 27 + 3);
    expect(count(false)).toBe(32 * 23 + 3);
  });

  for (const bits of [4, 8] as const) {
    const reference = sharedPath("models", `qwen-mini-int${bits}-autogptq`);
    it.skipIf(reference === undefined)(
      `describes an int${bits} checkpoint of AutoGPTQ exactly`,
      () => {
        const checkpoint = openCheckpoint(reference!);
        const quantization = readQuantizationConfig(checkpoint.dir, checkpoint.config)!;
        expect(quantization.bits).toBe(bits);
        const entries = layoutOf(checkpoint.config, { bits });
        expect(entries.map(({ name }) => name).sort()).toEqual(
          [...checkpoint.tensors.keys()].sort(),
        );
        for (const { name, dtype, shape } of entries) {
          expect(requireTensor(checkpoint, name, { dtypes: [dtype], shape }).name).toBe(name);
        }
      },
    );
  }
});
