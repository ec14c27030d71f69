import { describe, expect, test } from "vitest";
import { type DType, type DTypeArray, ops } from "../../kernels/index.ts";
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

// Add, cast and the like have one implementation on the processor.
const withScalar = ["scalar", "cuda"] as const;

function silu(t: number): number {
  // exp(-t) and t · exp(t) are both zero long before 200.
  const bounded = Math.max(t, -200);
  return Math.fround(bounded / (1 + Math.exp(-bounded)));
}

async function swiglu(
  isa: Implementation,
  up: Float32Array<ArrayBuffer>,
  gate: Float32Array<ArrayBuffer>,
  rows = 1,
  threads = 2,
) {
  return withDevice({ isa, threads }, async (device) => {
    using a = device.from("f32", up, [rows, up.length / rows]);
    using b = device.from("f32", gate, [rows, up.length / rows]);
    using y = ops.swiglu(a, b);
    return y.read();
  });
}

// exp to 1 ulp (2 eps), one addition, one product and one division, then the product with up. A subnormal
// exp is off by 2^-149 at most, times the gate, which is above -104 there.
const swigluTolerance = (want: readonly number[]) => (i: number) =>
  8 * eps * Math.abs(want[i] ?? 0) + 104 * 2 ** -149;

describe.each(implementations)("swiglu on %s", (isa) => {
  test("matches the double-precision definition at every width around the vector length", async () => {
    const random = seeded(1);
    for (const width of [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 1000]) {
      const up = normal(width, random);
      const gate = normal(width, random, { scale: 3, heavy: true });
      const want = Array.from(gate, (t, i) => (up[i] ?? 0) * silu(t));
      expectClose(await swiglu(isa, up, gate), want, swigluTolerance(want), `width ${width}`);
    }
  });

  test("is right for every size of the gate, infinite ones included, and NaN only for NaN", async () => {
    const gate = Float32Array.from([
      ...[0, -0, 1e-40, 1e-30, 1, 20, 87, 88, 89, 104, 1e4, 3e38, Number.POSITIVE_INFINITY],
      ...[
        -1e-40,
        -1,
        -20,
        -87,
        -88,
        -89,
        -95,
        -103,
        -104,
        -200,
        -1e4,
        -3e38,
        Number.NEGATIVE_INFINITY,
      ],
      Number.NaN,
    ]);
    const want = Array.from(gate, silu);
    const actual = await swiglu(isa, new Float32Array(gate.length).fill(1), gate);
    expectClose(actual, want, swigluTolerance(want));
    expect(Array.from(actual, Number.isNaN)).toEqual(Array.from(gate, Number.isNaN));
  });

  test("a row has the same bits alone, and threads do not matter", async () => {
    const random = seeded(2);
    const [rows, width] = [50, 1001];
    const up = normal(rows * width, random);
    const gate = normal(rows * width, random, { heavy: true });
    const all = await swiglu(isa, up, gate, rows);
    expectSameBits(await swiglu(isa, up, gate, rows, 1), all, "one thread");
    const row = (values: Float32Array<ArrayBuffer>) => values.slice(40 * width, 41 * width);
    expectSameBits(await swiglu(isa, row(up), row(gate)), row(all), "row 40");
  });

  test("reads both halves of one matrix and writes only its own elements, in place", async () => {
    const random = seeded(3);
    for (const width of [1, 7, 16, 21]) {
      const values = normal(4 * (2 * width + 3), random);
      const actual = await withDevice({ isa }, async (device) => {
        using buffer = device.from("f32", values, [4, 2 * width + 3]);
        using up = buffer.narrow(1, 1, width);
        using gate = buffer.narrow(1, 2 + width, width);
        call((addon) => addon.swiglu(device.handle, up.handle, gate.handle, up.handle));
        return buffer.read();
      });
      const isOutput = (i: number) => i % (2 * width + 3) >= 1 && i % (2 * width + 3) <= width;
      const want = Array.from(values, (v, i) =>
        isOutput(i) ? v * silu(values[i + width + 1] ?? 0) : v,
      );
      const allowed = swigluTolerance(want);
      expectClose(actual, want, (i) => (isOutput(i) ? allowed(i) : 0), `width ${width}`);
    }
  });
});

describe.each(withScalar)("add on %s", (isa) => {
  test("is the rounded sum, of strided views and into one of them", async () => {
    const values = normal(30 * 70, seeded(4), { heavy: true });
    const { sum, after } = await withDevice({ isa }, async (device) => {
      using x = device.from("f32", values, [30, 70]);
      using a = x.narrow(1, 0, 33);
      using b = x.narrow(1, 35, 33);
      using y = ops.add(a, b);
      const result = await y.read();
      call((addon) => addon.add(device.handle, a.handle, b.handle, a.handle));
      return { sum: result, after: await x.read() };
    });
    const at = (i: number) => values[i] ?? Number.NaN;
    expect(sum).toEqual(
      Float32Array.from(
        sum,
        (_, i) =>
          at(Math.floor(i / 33) * 70 + (i % 33)) + at(Math.floor(i / 33) * 70 + 35 + (i % 33)),
      ),
    );
    expect(after).toEqual(values.map((v, i) => (i % 70 < 33 ? v + at(i + 35) : v)));
  });

  test("refuses operands of different shapes", async () => {
    await withDevice({ isa }, async (device) => {
      const refusal = expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" });
      expect(() => ops.add(device.zeros("f32", [2, 3]), device.zeros("f32", [3, 2]))).toThrow(
        refusal,
      );
    });
  });
});

describe.each(withScalar)("cast on %s", (isa) => {
  async function castF32(
    values: Float32Array<ArrayBuffer>,
    dtype: "f16" | "bf16" | "f32",
    threads = 2,
  ) {
    return withDevice({ isa, threads }, async (device) => {
      using counts = device.from("i32", Int32Array.of(100, 200));
      using x = device.from("f32", values);
      using y = ops.cast(x, dtype, counts);
      return { bits: await y.read(), counts: await counts.read() };
    });
  }

  test("rounds to nearest even, f16 subnormals and ties included", async () => {
    const ties = [
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      2 ** -25,
      3 * 2 ** -25,
      2049,
      2051,
      65519.99,
      -0,
      1 + 2 ** -8,
    ];
    const values = Float32Array.from([...ties, ...normal(50_000, seeded(5), { heavy: true })]);
    const { bits } = await castF32(values, "f16");
    expect(bits).toEqual(Uint16Array.from(values, numberToF16));
    const { bits: brain } = await castF32(values, "bf16", 1);
    expect(brain).toEqual(toBf16(values));
  });

  test("widens every f16 and bf16 exactly", async () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const widen = <T extends "f16" | "bf16">(dtype: T) =>
      withDevice({ isa }, async (device) => {
        using counts = device.zeros("i32", [2]);
        using x = device.from(dtype as DType, all as DTypeArray[T]);
        using y = ops.cast(x as Parameters<typeof ops.cast>[0], "f32", counts);
        expect(await counts.read()).toEqual(Int32Array.of(0, 0));
        return y.read();
      });
    expect(await widen("f16")).toEqual(Float32Array.from(all, f16ToNumber));
    expect(await widen("bf16")).toEqual(fromBf16(all));
  });

  test("adds the values that became infinite and the non-zero ones that became zero to the counts", async () => {
    const values = Float32Array.of(
      65519,
      65520,
      -1e30,
      Number.POSITIVE_INFINITY,
      Number.NaN,
      0,
      -0,
      1e-8,
      -1e-30,
      6e-8,
    );
    const { bits, counts } = await castF32(values, "f16");
    expect(counts).toEqual(Int32Array.of(102, 202));
    expect(Array.from(bits, f16ToNumber).slice(0, 5)).toEqual([
      65504,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ]);
    const { counts: brain } = await castF32(Float32Array.of(3.4e38, 1e-45, 1), "bf16");
    expect(brain).toEqual(Int32Array.of(101, 201));
  });
});

describe.each(withScalar)("copy and countNonFinite on %s", (isa) => {
  test("copy makes a strided view of any element size dense", async () => {
    await withDevice({ isa }, async (device) => {
      const bytes = Uint8Array.from({ length: 600 * 100 }, (_, i) => i % 251);
      using x = device.from("u8", bytes, [600, 100]);
      using view = x.narrow(1, 3, 90);
      const copied = await ops.copy(view).read();
      expect(copied).toEqual(bytes.filter((_, i) => i % 100 >= 3 && i % 100 < 93));
      const wide = device.from("f32", Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]).narrow(1, 1, 2);
      expect(await ops.copy(wide).read()).toEqual(Float32Array.of(2, 3, 5, 6));
    });
  });

  test("countNonFinite finds NaN and both infinities of every dtype inside the view only", async () => {
    await withDevice({ isa }, async (device) => {
      const values = normal(400 * 100, seeded(6));
      for (const i of [0, 5, 10_005, 39_998]) values[i] = Number.NaN;
      values[207] = Number.POSITIVE_INFINITY;
      values[308] = Number.NEGATIVE_INFINITY;
      values[309] = 3.4e38;
      using x = device.from("f32", values, [400, 100]);
      expect(await ops.countNonFinite(x).read()).toEqual(Int32Array.of(6));
      using inner = x.narrow(1, 1, 97);
      expect(await ops.countNonFinite(inner).read()).toEqual(Int32Array.of(4));
      using half = device.from("f16", Uint16Array.of(0x7bff, 0x7c00, 0xfc00, 0x7e00, 0), [1, 5]);
      expect(await ops.countNonFinite(half).read()).toEqual(Int32Array.of(3));
      using brain = device.from("bf16", Uint16Array.of(0x7f7f, 0x7f80, 0xff80, 0x7fc0, 1), [1, 5]);
      expect(await ops.countNonFinite(brain).read()).toEqual(Int32Array.of(3));
    });
  });
});
