import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { call } from "../../kernels/native.ts";
import { type Implementation, implementations, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { eps, expectClose, expectSameBits } from "../support/tolerance.ts";

type F32Array = Float32Array<ArrayBuffer>;
const widths = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 1000, 20_011];

function expectedLogSoftmax(x: Float32Array): number[] {
  const largest = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = x.reduce((total, value) => total + Math.exp(value - largest), 0);
  return Array.from(x, (value) => value - largest - Math.log(sum));
}

async function logSoftmax(
  isa: Implementation,
  x: F32Array,
  rows = 1,
  threads = 2,
): Promise<F32Array> {
  return withDevice({ isa, threads }, async (device) => {
    using input = device.from("f32", x, [rows, x.length / rows]);
    using y = ops.logSoftmax(input);
    return y.read();
  });
}

async function divergence(
  isa: Implementation,
  logP: F32Array,
  logQ: F32Array,
  rows = 1,
  threads = 2,
) {
  return withDevice({ isa, threads }, async (device) => {
    using p = device.from("f32", logP, [rows, logP.length / rows]);
    using q = device.from("f32", logQ, [rows, logP.length / rows]);
    using y = ops.klDivergence(p, q);
    return y.read();
  });
}

/** x − largest, − log sum and the log's own rounding; the sum itself is in f64 of exponentials to 1 ulp. */
const logTolerance = (x: Float32Array, want: readonly number[]) => {
  const largest = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return (i: number) => 4 * eps * (Math.abs((x[i] ?? 0) - largest) + Math.abs(want[i] ?? 0) + 1);
};

describe.each(implementations)("logSoftmax on %s", (isa) => {
  test("matches the double-precision definition at every width around the vector length", async () => {
    const random = seeded(1);
    for (const width of widths) {
      const x = normal(width, random, { scale: 4, heavy: true });
      const want = expectedLogSoftmax(x);
      expectClose(await logSoftmax(isa, x), want, logTolerance(x, want), `width ${width}`);
    }
  });

  test("a constant added to every logit changes nothing, however large", async () => {
    const x = Float32Array.from({ length: 500 }, (_, i) => i % 13);
    const shifted = x.map((value) => value + 2 ** 20);
    expectSameBits(await logSoftmax(isa, shifted), await logSoftmax(isa, x));
  });

  test("minus infinity has probability zero, NaN or infinity spoil their own row only", async () => {
    const width = 40;
    const x = normal(4 * width, seeded(2));
    x.fill(Number.NEGATIVE_INFINITY, 3, 20);
    x[width + 39] = Number.NaN;
    x[2 * width] = Number.POSITIVE_INFINITY;
    const y = await logSoftmax(isa, x, 4);
    const want = expectedLogSoftmax(x.subarray(0, width));
    expectClose(y.subarray(0, width), want, logTolerance(x.subarray(0, width), want));
    expect(y.subarray(width, 3 * width).every(Number.isNaN)).toBe(true);
    const last = expectedLogSoftmax(x.subarray(3 * width));
    expectClose(y.subarray(3 * width), last, logTolerance(x.subarray(3 * width), last));
  });

  test("a row has the same bits alone, in place and on any number of threads", async () => {
    const [rows, width] = [9, 5003];
    const x = normal(rows * width, seeded(3), { scale: 3 });
    const all = await logSoftmax(isa, x, rows);
    expectSameBits(await logSoftmax(isa, x, rows, 1), all, "one thread");
    const row = (values: F32Array) => values.slice(7 * width, 8 * width);
    expectSameBits(await logSoftmax(isa, row(x)), row(all), "row 7");
    const inPlace = await withDevice({ isa }, async (device) => {
      using buffer = device.from("f32", x, [rows, width]);
      using view = buffer.narrow(1, 0, width - 10);
      call((addon) => addon.logSoftmax(device.handle, view.handle, view.handle));
      return buffer.read();
    });
    const canaries = (values: F32Array) => values.filter((_, i) => i % width >= width - 10);
    expectSameBits(canaries(inPlace), canaries(x), "beside the view");
    const narrow = x.slice(0, width - 10);
    expectSameBits(inPlace.slice(0, width - 10), await logSoftmax(isa, narrow), "in place");
  });
});

describe.each(implementations)("klDivergence on %s", (isa) => {
  test("matches the double-precision sum at every width around the vector length", async () => {
    const random = seeded(4);
    for (const width of widths) {
      const logP = Float32Array.from(expectedLogSoftmax(normal(width, random, { scale: 3 })));
      const logQ = Float32Array.from(expectedLogSoftmax(normal(width, random, { scale: 3 })));
      let sum = 0;
      let magnitude = 0;
      logP.forEach((p, i) => {
        const term = Math.exp(p) * (p - (logQ[i] ?? 0));
        sum += term;
        magnitude += Math.abs(term);
      });
      // exp to 1 ulp (2 eps) and the rounded difference; the sum is in f64, its result rounded once.
      const tolerance = 4 * eps * magnitude + 1e-37;
      expectClose(await divergence(isa, logP, logQ), [sum], tolerance, `width ${width}`);
    }
  });

  test("is zero between equal rows, and what p excludes contributes nothing", async () => {
    const none = Number.NEGATIVE_INFINITY;
    const logP = Float32Array.of(none, Math.log(0.5), none, Math.log(0.5), -200);
    expect(await divergence(isa, logP, logP)).toEqual(Float32Array.of(0));
    const logQ = Float32Array.of(Math.log(0.5), Math.log(0.25), none, Math.log(0.25), none);
    const result = await divergence(isa, logP, logQ);
    expectClose(result, [Math.log(2)], 8 * eps);
  });

  test("is infinite where q excludes what p allows, and NaN for NaN, each in its own row", async () => {
    const half = Math.log(0.5);
    const logP = Float32Array.of(half, half, half, half, Number.NaN, half);
    const logQ = Float32Array.of(Number.NEGATIVE_INFINITY, 0, half, half, half, half);
    expect(await divergence(isa, logP, logQ, 3)).toEqual(
      Float32Array.of(Number.POSITIVE_INFINITY, 0, Number.NaN),
    );
  });

  test("a row has the same bits alone and on any number of threads", async () => {
    const [rows, width] = [6, 9001];
    const random = seeded(5);
    const logP = await logSoftmax(isa, normal(rows * width, random), rows);
    const logQ = await logSoftmax(isa, normal(rows * width, random), rows);
    const all = await divergence(isa, logP, logQ, rows);
    expectSameBits(await divergence(isa, logP, logQ, rows, 1), all, "one thread");
    const row = (values: F32Array) => values.slice(4 * width, 5 * width);
    expectSameBits(await divergence(isa, row(logP), row(logQ)), all.slice(4, 5), "row 4");
  });
});

// One implementation each on the processor.
const withScalar = ["scalar", "cuda"] as const;

async function argmax(isa: Implementation, x: F32Array, rows: number, limit: number) {
  return withDevice({ isa }, async (device) => {
    using input = device.from("f32", x, [rows, x.length / rows]);
    using y = ops.argmax(input, limit);
    return Array.from(await y.read());
  });
}

describe.each(withScalar)("argmax on %s", (isa) => {
  test("finds the largest of every row wherever it stands", async () => {
    const random = seeded(6);
    for (const rows of [1, 20]) {
      for (const width of [1, 2, 5, 16, 33, 1000, 9003]) {
        const x = normal(rows * width, random, { heavy: true });
        const want = Array.from({ length: rows }, (_, row) => {
          const values = x.subarray(row * width, (row + 1) * width);
          return values.indexOf(values.reduce((a, b) => Math.max(a, b)));
        });
        expect(await argmax(isa, x, rows, width)).toEqual(want);
      }
    }
  });

  test("takes the first of equals, with -0 equal to 0, negative and infinite rows included", async () => {
    const inf = Number.POSITIVE_INFINITY;
    const rows = [
      [-5, -0, 0, -1],
      [0, -0, 0, 0],
      [-3, -2, -2, -9],
      [-inf, -inf, -inf, -inf],
      [1, inf, inf, -inf],
    ];
    expect(await argmax(isa, Float32Array.from(rows.flat()), 5, 4)).toEqual([1, 0, 1, 0, 1]);
  });

  test("does not look beyond the limit and answers -1 for NaN before it", async () => {
    const nan = Number.NaN;
    const rows = [
      [1, 2, 9],
      [1, 2, nan],
      [nan, 2, 3],
      [1, nan, 0],
    ];
    expect(await argmax(isa, Float32Array.from(rows.flat()), 4, 2)).toEqual([1, 1, -1, -1]);
    const negative = new Float32Array(new Uint32Array([0x3f800000, 0xffc00001]).buffer);
    expect(await argmax(isa, negative, 1, 2)).toEqual([-1]);
  });

  test.each([0, 5])("refuses the limit %i of a row of 4", async (limit) => {
    await withDevice({ isa }, async (device) => {
      expect(() => ops.argmax(device.zeros("f32", [1, 4]), limit)).toThrow(
        expect.objectContaining({ name: "KernelError", code: "KERNEL_VALUE" }),
      );
    });
  });
});

describe.each(withScalar)("pick on %s", (isa) => {
  test("returns one element of every row", async () => {
    await withDevice({ isa }, async (device) => {
      using x = device.from("f32", Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7), [2, 4]).narrow(1, 1, 3);
      using y = ops.pick(x, device.from("i32", Int32Array.of(2, 0)));
      expect(await y.read()).toEqual(Float32Array.of(3, 5));
    });
  });

  test.each([-1, 3])("the index %i outside a row of 3 faults the device", async (index) => {
    const outcome = withDevice({ isa }, async (device) => {
      ops.pick(device.zeros("f32", [1, 3]), device.from("i32", Int32Array.of(index)));
    });
    await expect(outcome).rejects.toMatchObject({ code: "KERNEL_VALUE" });
  });
});
