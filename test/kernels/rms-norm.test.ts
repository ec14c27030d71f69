import { describe, expect, test } from "vitest";
import { type F32, type FloatTensor, ops, type Tensor } from "../../kernels/index.ts";
import { call } from "../../kernels/native.ts";
import {
  f16ToNumber,
  fromBf16,
  type Implementation,
  implementations,
  numberToF16,
  toBf16,
  withDevice,
} from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { eps, expectClose, expectSameBits } from "../support/tolerance.ts";

const epsilon = 1e-6;

/** In double precision: x / sqrt(mean(x²) + epsilon) · weight. */
function expected(x: Float32Array, weight: Float32Array): number[] {
  const width = weight.length;
  return Array.from(x, (value, i) => {
    const start = i - (i % width);
    let sum = 0;
    for (let j = start; j < start + width; j++) sum += (x[j] ?? 0) ** 2;
    return (value / Math.sqrt(sum / width + epsilon)) * (weight[i % width] ?? 0);
  });
}

/** The scale is rounded to f32 and two products follow; the sum is in f64: 3 roundings, 4 with slack. */
const tolerance = (values: readonly number[]) => (i: number) =>
  4 * eps * Math.abs(values[i] ?? 0) + 1e-37;

async function norm(
  isa: Implementation,
  x: Float32Array<ArrayBuffer>,
  weight: Float32Array<ArrayBuffer>,
  threads = 2,
) {
  return withDevice({ isa, threads }, async (device) => {
    using input = device.from("f32", x, [x.length / weight.length, weight.length]);
    using scale = device.from("f32", weight);
    using y = ops.rmsNorm(input, scale, epsilon);
    return y.read();
  });
}

describe.each(implementations)("rmsNorm on %s", (isa) => {
  test("matches the double-precision definition at every width around the vector length", async () => {
    const random = seeded(1);
    for (const width of [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 257, 2048, 4095]) {
      for (const heavy of [false, true]) {
        const x = normal(3 * width, random, { heavy });
        const weight = normal(width, random);
        const want = expected(x, weight);
        expectClose(await norm(isa, x, weight), want, tolerance(want), `width ${width}`);
      }
    }
  });

  test("reads f16 and bf16 weights exactly", async () => {
    const random = seeded(2);
    const width = 37;
    const x = normal(2 * width, random);
    const half = Uint16Array.from(normal(width, random), numberToF16);
    const brain = toBf16(normal(width, random));
    await withDevice({ isa }, async (device) => {
      using input = device.from("f32", x, [2, width]);
      const run = async (weight: FloatTensor, values: Float32Array) => {
        using y = ops.rmsNorm(input, weight, epsilon);
        const want = expected(x, values);
        expectClose(await y.read(), want, tolerance(want), weight.dtype);
      };
      using f16 = device.from("f16", half);
      await run(f16, Float32Array.from(half, f16ToNumber));
      using bf16 = device.from("bf16", brain);
      await run(bf16, fromBf16(brain));
    });
  });

  test("a row has the same bits alone, among others and on any number of threads", async () => {
    const random = seeded(3);
    const width = 1000;
    const weight = normal(width, random);
    const x = normal(70 * width, random, { heavy: true });
    const all = await norm(isa, x, weight, 2);
    expectSameBits(await norm(isa, x, weight, 1), all, "one thread");
    for (const row of [0, 33, 69]) {
      const alone = await norm(isa, x.slice(row * width, (row + 1) * width), weight);
      expectSameBits(alone, all.slice(row * width, (row + 1) * width), `row ${row}`);
    }
  });

  test("reads a strided view, writes only its own elements and may write in place", async () => {
    const random = seeded(4);
    await withDevice({ isa }, async (device) => {
      for (const width of [1, 7, 16, 19]) {
        const values = normal(3 * (width + 5), random);
        const inner = Float32Array.from({ length: 3 * width }, (_, i) => {
          return values[Math.floor(i / width) * (width + 5) + 2 + (i % width)] ?? Number.NaN;
        });
        const weight = normal(width, random);
        using buffer = device.from("f32", values, [3, width + 5]);
        using x: F32 = buffer.narrow(1, 2, width);
        using scale: Tensor<"f32"> = device.from("f32", weight);
        call((addon) => addon.rmsNorm(device.handle, x.handle, scale.handle, epsilon, x.handle));
        const want = Array.from(values);
        expected(inner, weight).forEach((value, i) => {
          want[Math.floor(i / width) * (width + 5) + 2 + (i % width)] = value;
        });
        const allowed = tolerance(want);
        const isCanary = (i: number) => i % (width + 5) < 2 || i % (width + 5) >= width + 2;
        expectClose(
          await buffer.read(),
          want,
          (i) => (isCanary(i) ? 0 : allowed(i)),
          `width ${width}`,
        );
      }
    });
  });

  test("large finite values do not overflow, NaN stays in its row", async () => {
    const weight = new Float32Array(20).fill(1);
    const x = normal(60, seeded(5));
    x[3] = 3e38;
    x[25] = Number.NaN;
    x[45] = Number.POSITIVE_INFINITY;
    const want = expected(x, weight);
    expect(want[3]).toBeCloseTo(Math.sqrt(20), 5);
    // 1 / 7e37 is a subnormal number: the scale has that spacing, not a relative one.
    const spacing = 2 ** -149 * 3e38;
    expectClose(await norm(isa, x, weight), want, (i) => (i < 20 ? spacing : tolerance(want)(i)));
  });

  test("accepts no rows and refuses a weight of another width", async () => {
    await withDevice({ isa }, async (device) => {
      using none = device.empty("f32", [0, 8]);
      using weight = device.from("f32", new Float32Array(8));
      using y = ops.rmsNorm(none, weight, epsilon);
      expect(await y.read()).toHaveLength(0);
      using wide = device.empty("f32", [2, 9]);
      expect(() => ops.rmsNorm(wide, weight, epsilon)).toThrow(
        expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" }),
      );
    });
  });
});
