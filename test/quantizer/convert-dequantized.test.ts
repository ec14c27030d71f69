// Quantized models written as floats.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDevice, ops } from "../../kernels/index.ts";
import { openCheckpoint, openModel, readTensorBytes } from "../../runtime/index.ts";
import { replaceTensor, writeQuantizedQwen } from "../support/quantized-qwen.ts";
import { expectSameBits } from "../support/tolerance.ts";
import { convert, expectRefusal, fresh, json, logitsOf } from "./conversions.ts";

const linear = "transformer.h.0.mlp.w1";
const v1 = writeQuantizedQwen(fresh());

describe("dequantized", () => {
  test.each(["bf16", "f16", "f32"] as const)("weights are the packed ones as %s", async (dtype) => {
    const { output, report } = await convert(v1, { to: "dequantized", dtype });
    using device = openDevice({ threads: 1 });
    using packed = openModel(v1, device);
    using floats = openModel(output, device);
    using counts = device.zeros("i32", [2]);
    using block = packed.loadBlock(0);
    using exact = ops.dequantize(block.linear("mlp.w1").stored!);
    using expected = ops.cast(exact, dtype, counts);
    using stored = floats.tensor(`${linear}.weight`);
    expect(stored.dtype).toBe(dtype);
    expect(await stored.read()).toEqual(await expected.read());
    expect(floats.quantization).toBeUndefined();
    expect(report.droppedBiases).toHaveLength(4);
    expect([...floats.checkpoint.tensors.keys()]).toEqual([...floats.tensorShapes().keys()]);
  });

  test("the configs no longer speak of quantization", async () => {
    writeFileSync(join(v1, "report.md"), "# int4");
    const { output } = await convert(v1, { to: "dequantized", dtype: "bf16" });
    const config = json(output, "config.json");
    expect(config).toMatchObject({ bf16: true, fp16: false, fp32: false, torch_dtype: "bfloat16" });
    expect(config).not.toHaveProperty("quantization_config");
    expect(existsSync(join(output, "quantize_config.json"))).toBe(false);
    expect(existsSync(join(output, "report.md"))).toBe(false);
    expect(existsSync(join(output, "generation_config.json"))).toBe(true);
  });

  test("a linear that had stayed float stays what it was", async () => {
    const one = new Uint8Array(new Uint16Array(128 * 128).fill(0x3c00).buffer);
    const source = writeQuantizedQwen(fresh(), {
      tensors: (tensors) => [
        ...tensors.filter(({ name }) => !name.startsWith(`${linear}.`)),
        { name: `${linear}.weight`, dtype: "F16", shape: [128, 128], bytes: one },
      ],
    });
    const { output } = await convert(source, { to: "dequantized", dtype: "f16" });
    const entry = openCheckpoint(output).tensors.get(`${linear}.weight`)!;
    expect(readTensorBytes(entry)).toEqual(one);
    const { output: v2 } = await convert(source, { to: "format", format: "gptq_v2" });
    expectSameBits(await logitsOf(v2), await logitsOf(source));
  });

  test("a bias that the float model has no place for is not lost", async () => {
    const source = writeQuantizedQwen(fresh(), {
      tensors: replaceTensor(`${linear}.bias`, ({ bytes }) => {
        return { bytes: new Uint8Array(new Uint16Array(bytes.byteLength / 2).fill(1).buffer) };
      }),
    });
    await expectRefusal(
      source,
      { to: "dequantized", dtype: "bf16" },
      {
        ...{
          name: "QuantizeError",
          code: "QUANTIZE_SOURCE",
          message: expect.stringContaining(`${linear}.bias`),
        },
      },
    );
  });

  test("a scale that is not finite is found", async () => {
    const source = writeQuantizedQwen(fresh(), {
      tensors: replaceTensor(`${linear}.scales`, ({ bytes }) => {
        return { bytes: new Uint8Array(new Uint16Array(bytes.byteLength / 2).fill(0x7c00).buffer) };
      }),
    });
    await expectRefusal(
      source,
      { to: "dequantized", dtype: "bf16" },
      {
        ...{
          name: "QuantizeError",
          code: "QUANTIZE_NOT_FINITE",
          message: expect.stringContaining(`${linear}.weight`),
        },
      },
    );
  });
});
