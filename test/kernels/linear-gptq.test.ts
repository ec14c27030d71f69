import { describe, expect, test } from "vitest";
import { type Device, type F32, type GptqWeight, ops } from "../../kernels/index.ts";
import { call } from "../../kernels/native.ts";
import {
  gptqCases,
  plainGptqShape,
  randomActivations,
  randomGptqWeight,
} from "../support/gptq-weight.ts";
import { implementations, withDevice } from "../support/kernels.ts";
import { expectedLinear, linearTolerance } from "../support/matmul.ts";
import { normal, seeded } from "../support/random.ts";
import { stored } from "../support/stored.ts";
import { expectClose, expectSameBits } from "../support/tolerance.ts";

const plain = plainGptqShape;

describe.each(implementations)("linearGptq on %s", (isa) => {
  test.each(gptqCases)("agrees with double precision for %j", async ({ rows, ...partial }) => {
    const shape = { ...plain, ...partial };
    await withDevice({ isa }, async (device) => {
      const random = seeded(rows * 131 + shape.in * 17 + shape.out);
      const { weight, values } = randomGptqWeight(device, shape, random);
      const x = randomActivations(device, rows, shape.in, random);
      const bias = stored(device, shape.scaleDtype, normal(shape.out, random));
      const y = await ops.linearGptq(x, weight, bias.tensor).read();
      const c = { ...shape, rows, x: await x.read(), weight: values, bias: bias.values };
      expectClose(y, expectedLinear(c), linearTolerance(c), isa);
    });
  });

  test.each([
    { bits: 4, scaleDtype: "f32", scattered: false },
    { bits: 4, scaleDtype: "f16", scattered: true },
    { bits: 8, scaleDtype: "bf16", scattered: true },
    { bits: 8, scaleDtype: "f32", scattered: false },
  ] as const)("multiplies by exactly the dequantized weight (%j)", async (partial) => {
    const shape = { ...plain, ...partial, in: 40, out: 72, groupSize: 6 };
    await withDevice({ isa }, async (device) => {
      const { weight } = randomGptqWeight(device, shape, seeded(3));
      const dense = ops.transpose(ops.dequantize(weight), "f32");
      const identity = new Float32Array(40 * 40);
      for (let i = 0; i < 40; i++) identity[i * 41] = 1;
      const x = device.from("f32", identity, [40, 40]);
      expectClose(await ops.linearGptq(x, weight).read(), await dense.read(), 0, "many rows");
      const few = ops.linearGptq(x.narrow(0, 7, 3), weight);
      expectClose(await few.read(), await dense.narrow(0, 7, 3).read(), 0, "few rows");
    });
  });

  test.each([4, 8] as const)(
    "gives a row the same bits whatever the number of rows (%i bits)",
    async (bits) => {
      const [rows, shape] = [99, { ...plain, bits, in: 552, out: 200, scattered: bits === 8 }];
      await withDevice({ isa }, async (device) => {
        const random = seeded(1);
        const { weight } = randomGptqWeight(device, shape, random);
        const x = randomActivations(device, rows, shape.in, random);
        const all = await ops.linearGptq(x, weight).read();
        for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 95, 96, 97]) {
          const last = await ops.linearGptq(x.narrow(0, rows - count, count), weight).read();
          expectSameBits(last, all.slice((rows - count) * shape.out), `${count} rows`);
        }
      });
    },
  );

  test("gives the same bits with one thread and with two", async () => {
    const run = (threads: number, rows: number): Promise<Float32Array<ArrayBuffer>> =>
      withDevice({ isa, threads }, async (device) => {
        const random = seeded(9);
        const shape = { ...plain, in: 512, out: 520, groupSize: 128 };
        const { weight } = randomGptqWeight(device, shape, random);
        return await ops
          .linearGptq(randomActivations(device, rows, shape.in, random), weight)
          .read();
      });
    for (const rows of [1, 100]) expectSameBits(await run(2, rows), await run(1, rows));
  });

  test.each([2, 30])("reads and writes views, and nothing beside them (%i rows)", async (rows) => {
    const shape = { ...plain, in: 24, out: 40 };
    await withDevice({ isa }, async (device) => {
      const random = seeded(rows);
      const { weight } = randomGptqWeight(device, shape, random);
      const wide = randomActivations(device, rows, 50, random);
      const x = wide.narrow(1, 9, 24);
      const canvas = device.from("f32", new Float32Array((rows + 2) * 60).fill(-777), [
        rows + 2,
        60,
      ]);
      const y = canvas.narrow(0, 1, rows).narrow(1, 7, 40);
      enqueue(device, x, weight, y);
      const dense = await ops.linearGptq(ops.copy(x), weight).read();
      const expected = new Float32Array((rows + 2) * 60).fill(-777);
      for (let r = 0; r < rows; r++) {
        expected.set(dense.subarray(r * 40, (r + 1) * 40), (r + 1) * 60 + 7);
      }
      expectSameBits(await canvas.read(), expected);
    });
  });

  test.each([3, 40])("keeps NaN and infinity in their rows (%i rows)", async (rows) => {
    await withDevice({ isa }, async (device) => {
      const random = seeded(5);
      const { weight } = randomGptqWeight(device, plain, random);
      const x = normal(rows * plain.in, random);
      const clean = await ops.linearGptq(device.from("f32", x, [rows, plain.in]), weight).read();
      x[plain.in + 63] = Number.NaN;
      x[2 * plain.in + 5] = Number.POSITIVE_INFINITY;
      const y = await ops.linearGptq(device.from("f32", x, [rows, plain.in]), weight).read();
      expect(y.slice(plain.out, 2 * plain.out).every(Number.isNaN)).toBe(true);
      expect(y.slice(2 * plain.out, 3 * plain.out).some(Number.isFinite)).toBe(false);
      expectSameBits(y.slice(0, plain.out), clean.slice(0, plain.out));
      expectSameBits(y.slice(3 * plain.out), clean.slice(3 * plain.out));
    });
  });

  test.each([-1, 2, 2 ** 31 - 1, -(2 ** 31)])("refuses the group %i of an input", async (group) => {
    await withDevice({ isa }, async (device) => {
      const { weight } = randomGptqWeight(device, plain, seeded(2));
      const groups = new Int32Array(plain.in);
      groups[41] = group;
      const groupIndex = device.from("i32", groups);
      const y = ops.linearGptq(device.zeros("f32", [1, plain.in]), { ...weight, groupIndex });
      const failure = expect(y.read()).rejects;
      await failure.toMatchObject({ name: "KernelError", code: "KERNEL_VALUE" });
      await failure.toThrow(isa === "cuda" ? "group_index[41]" : "input 41");
    }).catch((error: unknown) => {
      // The fault is sticky, so the device's last sync reports it again.
      if ((error as { code?: string }).code !== "KERNEL_VALUE") throw error;
    });
  });

  test("accepts no rows", async () => {
    await withDevice({ isa }, async (device) => {
      const { weight } = randomGptqWeight(device, plain, seeded(2));
      const y = ops.linearGptq(device.zeros("f32", [0, plain.in]), weight);
      expect(await y.read()).toEqual(new Float32Array(0));
    });
  });
});

function enqueue(device: Device, x: F32, weight: GptqWeight, y: F32): void {
  const { qweight, qzeros, scales, bits, zeroOffset, groupSize } = weight;
  const handles = [qweight.handle, qzeros.handle, scales.handle] as const;
  call((addon) =>
    addon.linearGptq(
      device.handle,
      x.handle,
      ...handles,
      null,
      null,
      bits,
      zeroOffset,
      groupSize,
      y.handle,
    ),
  );
}

test("linearGptq refuses tensors that do not fit the layout, at the call", async () => {
  await withDevice({ isa: "scalar" }, async (device) => {
    const { weight } = randomGptqWeight(device, plain, seeded(2));
    const x = device.zeros("f32", [2, plain.in]);
    const refused = (change: Partial<GptqWeight>, code: string): void => {
      expect(() => ops.linearGptq(x, { ...weight, ...change })).toThrow(
        expect.objectContaining({ name: "KernelError", code }),
      );
    };
    refused({ qweight: device.zeros("i32", [7, 16]) }, "KERNEL_SHAPE");
    refused({ qzeros: device.zeros("i32", [2, 1]) }, "KERNEL_SHAPE");
    refused({ scales: device.zeros("f16", [1, 16]) }, "KERNEL_SHAPE");
    refused({ groupIndex: device.zeros("i32", [63]) }, "KERNEL_SHAPE");
    refused({ groupSize: 16 }, "KERNEL_SHAPE");
    refused({ groupSize: 0 }, "KERNEL_VALUE");
    refused({ bits: 3 as never }, "KERNEL_VALUE");
    refused({ qweight: device.zeros("f32", [8, 16]) as never }, "KERNEL_DTYPE");
    expect(() => ops.linearGptq(x, weight, device.zeros("f32", [8]))).toThrow(
      expect.objectContaining({ code: "KERNEL_SHAPE" }),
    );
  });
});
