import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { call } from "../../kernels/native.ts";
import { type Implementation, implementations, withDevice } from "../support/kernels.ts";
import { expectedLinear, type LinearCase, linearTolerance } from "../support/matmul.ts";
import { normal, seeded } from "../support/random.ts";
import { type StoredDType, stored } from "../support/stored.ts";
import { expectClose, expectSameBits } from "../support/tolerance.ts";

// Around the tiles (4 rows, 3 to 8 columns), the tasks (96 rows, 24 columns), the vectors (8, 16
// inputs), the passes (1024 inputs) and the change of path after 64 rows; on a GPU the tiles (64 and 128 rows and columns),
// chains (128 inputs) and the changes of path after 8, 16 and 32 rows.
const shapes: readonly (readonly [rows: number, inputs: number, out: number])[] = [
  [1, 1, 1],
  [1, 16, 8],
  [1, 17, 49],
  [2, 7, 9],
  [3, 33, 47],
  [4, 511, 5],
  [5, 1025, 6],
  [17, 64, 24],
  [64, 100, 13],
  [65, 1023, 25],
  [66, 15, 3],
  [96, 1024, 7],
  [97, 2065, 50],
  [101, 8, 1],
  [130, 70, 140],
];

async function run(
  options: { readonly isa: Implementation; readonly threads?: number },
  dtype: StoredDType,
  shape: readonly [number, number, number],
): Promise<{ y: Float32Array<ArrayBuffer>; linearCase: LinearCase }> {
  const [rows, inputs, out] = shape;
  return await withDevice(options, async (device) => {
    const random = seeded(rows * 7919 + inputs * 31 + out);
    const x = normal(rows * inputs, random, { heavy: true });
    const w = stored(device, dtype, normal(out * inputs, random, { heavy: true }), [out, inputs]);
    const bias = stored(device, dtype, normal(out, random));
    const y = ops.linear(device.from("f32", x, [rows, inputs]), w.tensor, bias.tensor);
    const linearCase = { rows, in: inputs, out, x, weight: w.values, bias: bias.values };
    return { y: await y.read(), linearCase };
  });
}

describe.each(implementations)("linear on %s", (isa) => {
  describe.each(["f32", "f16", "bf16"] as const)("with %s weights", (dtype) => {
    test.each(shapes)("agrees with double precision for %i x %i -> %i", async (...shape) => {
      const { y, linearCase } = await run({ isa }, dtype, shape);
      expectClose(y, expectedLinear(linearCase), linearTolerance(linearCase), `${isa} ${dtype}`);
    });
  });

  test("gives a row the same bits whatever the number of rows", async () => {
    const [rows, inputs, out] = [99, 1037, 53];
    await withDevice({ isa }, async (device) => {
      const random = seeded(1);
      const x = device.from("f32", normal(rows * inputs, random, { heavy: true }), [rows, inputs]);
      const w = stored(device, "bf16", normal(out * inputs, random), [out, inputs]);
      const all = await ops.linear(x, w.tensor).read();
      for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 66, 95, 96, 97]) {
        const last = await ops.linear(x.narrow(0, rows - count, count), w.tensor).read();
        expectSameBits(last, all.slice((rows - count) * out), `${count} rows`);
      }
    });
  });

  test("gives a row the same bits in tasks and tiles of every size", async () => {
    const [rows, inputs, out] = [130, 150, 140];
    await withDevice({ isa }, async (device) => {
      const random = seeded(2);
      const x = device.from("f32", normal(rows * inputs, random, { heavy: true }), [rows, inputs]);
      const w = stored(device, "bf16", normal(out * inputs, random), [out, inputs]);
      const all = await ops.linear(x, w.tensor).read();
      for (const count of [1, 17, 33]) {
        const few = await ops.linear(x.narrow(0, 60, count), w.tensor.narrow(0, 0, 16)).read();
        const part = Float32Array.from(few, (_, i) => all[(60 + (i >> 4)) * out + (i & 15)] ?? 0);
        expectSameBits(few, part, `${count} rows`);
      }
    });
  });

  test("gives the same bits with one thread and with two", async () => {
    for (const shape of [
      [1, 600, 300],
      [120, 600, 100],
    ] as const) {
      const one = await run({ isa, threads: 1 }, "f16", shape);
      const two = await run({ isa, threads: 2 }, "f16", shape);
      expectSameBits(two.y, one.y);
    }
  });

  test.each([2, 70])("reads and writes views, and nothing beside them (%i rows)", async (rows) => {
    const [inputs, out] = [21, 11];
    await withDevice({ isa }, async (device) => {
      const random = seeded(rows);
      const x = device.from("f32", normal(rows * 40, random), [rows, 40]).narrow(1, 3, inputs);
      const w = device.from("f32", normal(15 * 50, random), [15, 50]);
      const weight = w.narrow(0, 2, out).narrow(1, 5, inputs);
      const canvas = device.from("f32", new Float32Array((rows + 2) * 20).fill(-777), [
        rows + 2,
        20,
      ]);
      const y = canvas.narrow(0, 1, rows).narrow(1, 4, out);
      call((addon) => addon.linear(device.handle, x.handle, weight.handle, null, y.handle));
      const dense = await ops.linear(ops.copy(x), ops.copy(weight)).read();
      const pixels = await canvas.read();
      const expected = new Float32Array((rows + 2) * 20).fill(-777);
      for (let r = 0; r < rows; r++) {
        expected.set(dense.subarray(r * out, (r + 1) * out), (r + 1) * 20 + 4);
      }
      expectSameBits(pixels, expected);
    });
  });

  test.each([3, 70])("keeps NaN and infinity in their rows and columns (%i rows)", async (rows) => {
    const [inputs, out] = [37, 12];
    await withDevice({ isa }, async (device) => {
      const random = seeded(5);
      const x = normal(rows * inputs, random);
      const weight = normal(out * inputs, random);
      x[inputs + 36] = Number.NaN;
      weight[4 * inputs + 3] = Number.POSITIVE_INFINITY;
      const y = ops.linear(
        device.from("f32", x, [rows, inputs]),
        device.from("f32", weight, [out, inputs]),
      );
      const c = { rows, in: inputs, out, x, weight, bias: undefined };
      const finite = { ...c, x: x.map((v) => v || 0), weight: weight.map((v) => Math.min(v, 9)) };
      expectClose(await y.read(), expectedLinear(c), linearTolerance(finite));
    });
  });

  test("accepts no rows", async () => {
    await withDevice({ isa }, async (device) => {
      const y = ops.linear(device.zeros("f32", [0, 8]), device.zeros("bf16", [3, 8]));
      expect(await y.read()).toEqual(new Float32Array(0));
    });
  });
});

test("linear refuses shapes and dtypes that do not fit, at the call", async () => {
  await withDevice({ isa: "scalar" }, async (device) => {
    const x = device.zeros("f32", [2, 8]);
    const w = device.zeros("f32", [3, 8]);
    const shape = expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" });
    const dtype = expect.objectContaining({ name: "KernelError", code: "KERNEL_DTYPE" });
    expect(() => ops.linear(x, device.zeros("f32", [3, 7]))).toThrow(shape);
    expect(() => ops.linear(x, w, device.zeros("f32", [4]))).toThrow(shape);
    expect(() => ops.linear(device.zeros("bf16", [2, 8]) as never, w)).toThrow(dtype);
    expect(() => ops.linear(x, device.zeros("i32", [3, 8]) as never)).toThrow(dtype);
  });
});
