import { ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  type JsonObject,
  openCheckpoint,
  parseQwenConfig,
  planShards,
  quantizedCheckpointEntries,
  quantizedTensorEntries,
  readQuantizationConfig,
  readSafetensorsHeader,
  requireTensor,
  totalTensorBytes,
} from "../../../runtime/checkpoint/index.ts";
import { encodeHeader } from "../../../runtime/checkpoint/safetensors.ts";
import { sharedPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { PUBLISHED_SIZES, QWEN_1_8B, QWEN_7B } from "./published.ts";
import { refusal } from "./refusal.ts";

const directory = temporaryDirectory();
afterAll(directory.remove);

const OFFICIAL = { floatDtype: "F16", bias: "all" } as const;

function config(raw: Readonly<Record<string, unknown>>) {
  return parseQwenConfig(raw as JsonObject, "config.json");
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

describe("quantizedCheckpointEntries", () => {
  it.each(PUBLISHED_SIZES)("comes to the exact bytes of $model", ({ config: raw, ...expected }) => {
    const bytes = ([4, 8] as const).map((bits) => {
      const entries = quantizedCheckpointEntries(config(raw), { bits, groupSize: 128 }, OFFICIAL);
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
      const entries = quantizedCheckpointEntries(
        config(QWEN_1_8B),
        { bits, groupSize: 128 },
        OFFICIAL,
      );
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
    const count = (bias: "all" | "source") =>
      quantizedCheckpointEntries(
        config(QWEN_7B),
        { bits: 4, groupSize: 128 },
        { floatDtype: "F16", bias },
      ).length;
    expect(count("all")).toBe(32 * 27 + 3);
    expect(count("source")).toBe(32 * 23 + 3);
  });

  it("keeps the weight of linears that the quantization leaves out", () => {
    const modulesInBlock = [["attn.c_proj"], ["mlp.w1", "mlp.w2"]];
    const entries = quantizedCheckpointEntries(
      config(QWEN_7B),
      { bits: 4, groupSize: 128, modulesInBlock },
      OFFICIAL,
    );
    const block = entries
      .map(({ name }) => name)
      .filter((name) => name.startsWith("transformer.h.7."));
    expect(block.map((name) => name.slice("transformer.h.7.".length))).toEqual([
      "ln_1.weight",
      "attn.c_attn.weight",
      "attn.c_attn.bias",
      ...["qweight", "qzeros", "scales", "g_idx", "bias"].map((part) => `attn.c_proj.${part}`),
      "ln_2.weight",
      ...["qweight", "qzeros", "scales", "g_idx", "bias"].map((part) => `mlp.w1.${part}`),
      ...["qweight", "qzeros", "scales", "g_idx", "bias"].map((part) => `mlp.w2.${part}`),
      "mlp.c_proj.weight",
    ]);
  });

  for (const bits of [4, 8] as const) {
    const reference = sharedPath("models", `qwen-mini-int${bits}-autogptq`);
    it.skipIf(reference === undefined)(
      `describes an int${bits} checkpoint of AutoGPTQ exactly`,
      () => {
        const checkpoint = openCheckpoint(reference!);
        const quantization = readQuantizationConfig(checkpoint.dir, checkpoint.config)!;
        expect(quantization.bits).toBe(bits);
        const entries = quantizedCheckpointEntries(
          config(checkpoint.config),
          quantization,
          OFFICIAL,
        );
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
