import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { type ConversionTarget, convertModel } from "../../quantizer/index.ts";
import { openCheckpoint, readTensorBytes } from "../../runtime/index.ts";
import { int32, replaceTensor, writeQuantizedQwen } from "../support/quantized-qwen.ts";
import { tinyQwenTensors } from "../support/tiny-checkpoint.ts";
import { expectSameBits } from "../support/tolerance.ts";
import { torchFile } from "../support/torch-file.ts";
import { convert, expectRefusal, fresh, json, logitsOf, tensorsOf } from "./conversions.ts";
import { writeTinyModel } from "./quantized.ts";

const linear = "transformer.h.0.mlp.w1";
const v1 = writeQuantizedQwen(fresh());

describe("from v1 to v2 and back", () => {
  test("every tensor comes back byte for byte, and both say what they are", async () => {
    const { output: v2, report } = await convert(v1, { to: "format", format: "gptq_v2" });
    const { output: back } = await convert(v2, { to: "format", format: "gptq" });
    expect(report).toMatchObject({ sourceFormat: "gptq", droppedBiases: [], unused: [] });
    expect(tensorsOf(v2)).not.toEqual(tensorsOf(v1));
    expect(tensorsOf(back)).toEqual(tensorsOf(v1));
    for (const [dir, format] of [[v2, "gptq_v2"] as const, [back, "gptq"] as const]) {
      const said = { checkpoint_format: format, format, bits: 4, damp_percent: 0.01 };
      expect(json(dir, "quantize_config.json")).toMatchObject(said);
      expect(json(dir, "config.json")["quantization_config"]).toMatchObject(said);
    }
  });

  test("the logits keep every bit", async () => {
    const { output: v2 } = await convert(v1, { to: "format", format: "gptq_v2" });
    expectSameBits(await logitsOf(v2), await logitsOf(v1));
  });

  const asymmetric = (word: number) =>
    writeQuantizedQwen(fresh(), {
      quantization: { sym: false, checkpoint_format: "gptq_v2" },
      tensors: replaceTensor(`${linear}.qzeros`, ({ bytes }) => {
        return { bytes: int32(new Int32Array(bytes.byteLength / 4).fill(word)) };
      }),
    });

  test("an asymmetric model without a zero of 0 becomes v1 and computes the same", async () => {
    const source = asymmetric(0x12345678);
    const { output } = await convert(source, { to: "format", format: "gptq" });
    expectSameBits(await logitsOf(output), await logitsOf(source));
  });

  test("a zero of 0 has no place in v1: the tensor is named", async () => {
    await expectRefusal(
      asymmetric(0x12345670),
      { to: "format", format: "gptq" },
      {
        ...{
          name: "QuantizeError",
          code: "QUANTIZE_SOURCE",
          message: expect.stringContaining(`${linear}.qzeros`),
        },
      },
    );
  });

  test("a v1 zero that wraps around to 0 is a plain 0 in v2", async () => {
    const source = writeQuantizedQwen(fresh(), {
      quantization: { sym: false },
      tensors: replaceTensor(`${linear}.qzeros`, ({ bytes }) => {
        return { bytes: int32(new Int32Array(bytes.byteLength / 4).fill(-1)) };
      }),
    });
    const { output } = await convert(source, { to: "format", format: "gptq_v2" });
    const entry = openCheckpoint(output).tensors.get(`${linear}.qzeros`)!;
    expect(readTensorBytes(entry).every((byte) => byte === 0)).toBe(true);
    expectSameBits(await logitsOf(output), await logitsOf(source));
  });
});

describe("as it is", () => {
  test("in other shards a quantized model keeps every tensor, an unused one too", async () => {
    const more = { name: "transformer.extra", dtype: "I64", shape: [1], bytes: new Uint8Array(8) };
    const source = writeQuantizedQwen(fresh(), { tensors: (tensors) => [...tensors, more] });
    const { output } = await convert(source, { to: "same" }, 20_000);
    expect(
      readdirSync(output).filter((file) => file.endsWith(".safetensors")).length,
    ).toBeGreaterThan(2);
    expect(tensorsOf(output)).toEqual(tensorsOf(source));
  });

  test("an old file name becomes the current one, in the config too", async () => {
    const base = "gptq_model-4bit-64g";
    const source = writeQuantizedQwen(fresh(), {
      weightFile: `${base}.safetensors`,
      quantization: { model_file_base_name: base },
    });
    const { output } = await convert(source, { to: "same" });
    expect(readdirSync(output)).toContain("model.safetensors");
    expect(json(output, "quantize_config.json")).toMatchObject({ model_file_base_name: "model" });
    expect(tensorsOf(output)).toEqual(tensorsOf(source));
  });

  test("a config that stands in one file only, or has gaps, comes out in both and without them", async () => {
    const source = writeQuantizedQwen(fresh());
    const whole = json(source, "quantize_config.json");
    const { bits, ...others } = whole;
    const gaps = { ...others, bits: null, quant_method: "gptq" };
    writeFileSync(join(source, "quantize_config.json"), JSON.stringify(gaps));
    const expected = { ...whole, format: "gptq" };
    const { output } = await convert(source, { to: "same" });
    expect(bits).toBe(4);
    expect(json(output, "quantize_config.json")).toEqual(expected);
    rmSync(join(source, "quantize_config.json"));
    const { output: embeddedOnly } = await convert(source, { to: "same" });
    expect(json(embeddedOnly, "quantize_config.json")).toEqual(expected);
    expect(json(embeddedOnly, "config.json")["quantization_config"]).toEqual(expected);
  });

  test("a float model comes back from one tensor a file", async () => {
    const source = writeTinyModel(fresh());
    const { output: shards } = await convert(source, { to: "same" }, 1);
    const { output: back, report } = await convert(shards, { to: "same" });
    expect(report.sourceFormat).toBeUndefined();
    expect(tensorsOf(back)).toEqual(tensorsOf(source));
    expect(json(back, "config.json")).toEqual(json(source, "config.json"));
  });

  test("a pickle becomes safetensors with the same tensors", async () => {
    const source = writeTinyModel(fresh());
    const pickled = fresh();
    mkdirSync(pickled);
    copyFileSync(join(source, "config.json"), join(pickled, "config.json"));
    writeFileSync(join(pickled, "pytorch_model.bin"), torchFile(tinyQwenTensors()));
    const { output } = await convert(pickled, { to: "same" });
    expect(readdirSync(output).sort()).toEqual([
      ...["config.json", "model.safetensors", "model.safetensors.index.json"],
    ]);
    expect(tensorsOf(output)).toEqual(tensorsOf(source));
  });

  test("a float model in another dtype tells what it lost", async () => {
    const source = writeTinyModel(fresh(), { "lm_head.weight": (values) => values.fill(1e6) });
    const { output, report } = await convert(source, { to: "cast", dtype: "f16" });
    const overflowed = 128 * 64;
    expect(report.conversions).toEqual([{ name: "lm_head.weight", overflowed, flushed: 0 }]);
    expect(openCheckpoint(output).tensors.get("lm_head.weight")).toMatchObject({ dtype: "F16" });
  });
});

describe("what cannot be meant is refused", () => {
  const float = writeTinyModel(fresh());
  test.each<[string, string, ConversionTarget]>([
    ["a format of a float model", float, { to: "format", format: "gptq" }],
    ["to dequantize a float model", float, { to: "dequantized", dtype: "bf16" }],
    ["another dtype of a quantized model", v1, { to: "cast", dtype: "bf16" }],
  ])("%s", async (_name, source, target) => {
    await expectRefusal(source, target, { name: "QuantizeError", code: "QUANTIZE_SOURCE" });
  });

  test("an output that is in use, which stays as it is", async () => {
    using device = openDevice({ threads: 1 });
    const output = fresh();
    mkdirSync(join(output, "mine"), { recursive: true });
    const target = { to: "same" } as const;
    const refused = convertModel({ source: v1, output, target, maxShardBytes: 1e9, device });
    await expect(refused).rejects.toMatchObject({ code: "QUANTIZE_OUTPUT" });
    expect(readdirSync(output)).toEqual(["mine"]);
  });

  test("to go on after an interruption: nothing is left", async () => {
    using device = openDevice({ threads: 1 });
    const controller = new AbortController();
    const output = fresh();
    const stopped = convertModel({
      ...{ source: v1, output, target: { to: "same" }, maxShardBytes: 1e9, device },
      signal: controller.signal,
      onProgress: ({ fraction }) => fraction > 0.5 && controller.abort(new Error("enough")),
    });
    await expect(stopped).rejects.toThrow("enough");
    expect(existsSync(output)).toBe(false);
  });
});
