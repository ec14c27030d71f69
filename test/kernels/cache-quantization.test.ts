import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { sharedGolden } from "../support/golden.ts";
import { f16ToNumber, type Implementation, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { eps, expectClose } from "../support/tolerance.ts";

type Quantized = {
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly scale: Float32Array<ArrayBuffer>;
  readonly zero: Float32Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
};

/** @param x  [rows, heads · dim] */
async function quantize(
  isa: Implementation,
  x: Float32Array<ArrayBuffer>,
  { heads, dim, form }: { heads: number; dim: number; form?: ops.CacheForm },
): Promise<Quantized> {
  return withDevice({ isa }, async (device) => {
    const width = heads * dim;
    const tensor = device.from("f32", x, [x.length / width, width]);
    const result = ops.quantizeCache(tensor, { heads, ...(form === undefined ? {} : { form }) });
    const values = ops.dequantizeCache(result);
    return {
      codes: await result.codes.read(),
      scale: await result.scale.read(),
      zero: await result.zero.read(),
      values: await values.read(),
    };
  });
}

const f32 = Math.fround;

// One implementation on the processor.
const withScalar = ["scalar", "cuda"] as const;

/** Error of scale · (code − zero) beside the exact offset + scale · code: zero, the difference and the product round. */
const roundings = (scale: number, zero: number) => 3 * eps * scale * (255 + Math.abs(zero));

describe.each(withScalar)("quantizeCache per token on %s", (isa) => {
  test("comes back within half a scale of each row and head", async () => {
    const [heads, dim] = [3, 20];
    const x = normal(17 * heads * dim, seeded(1), { heavy: true });
    const { scale, zero, values } = await quantize(isa, x, { heads, dim });
    expectClose(
      values,
      x,
      (i) => {
        const [s, z] = [scale[Math.floor(i / dim)]!, zero[Math.floor(i / dim)]!];
        return s * (0.5 + 2 ** -14) + roundings(s, z);
      },
      "values",
    );
  });

  test("gives the codes and, as scale and zero, the grids of an 8-bit cache", async () => {
    const [heads, dim, rows] = [2, 12, 5];
    const x = normal(rows * heads * dim, seeded(2));
    x.fill(0.75, 0, dim); // scale 0 in the cache
    const { codes, scale, zero } = await quantize(isa, x, { heads, dim });
    await withDevice({ isa }, async (device) => {
      // One slot per block, so that the cache lies row by row as the operation's tensors do.
      const side = () => device.zeros("u8", [rows, heads, 1, dim]);
      const grid = () => device.zeros("f16", [rows, heads, 1, 2]);
      const cache = { k: side(), v: side(), grids: { k: grid(), v: grid() } };
      const tensor = device.from("f32", x, [rows, heads * dim]);
      const positions = device.from("i32", Int32Array.of(0, 1, 2, 3, 4));
      const state = {
        ...{ positions, rowSequence: device.zeros("i32", [rows]) },
        blockTable: positions.reshape([1, rows]),
      };
      ops.storeCache(tensor, tensor, state, cache);
      expect(await cache.k.read()).toEqual(codes);
      const grids = Float64Array.from(await cache.grids.k.read(), f16ToNumber);
      expect([scale[0], zero[0]]).toEqual([1, -0.75]);
      for (let i = 1; i < rows * heads; i++) {
        expect(scale[i]).toBe(grids[2 * i]);
        expect(zero[i]).toBe(f32(-grids[2 * i + 1]! / scale[i]!));
      }
    });
  });

  test("does not see the other rows", async () => {
    const x = normal(9 * 16, seeded(4));
    const all = await quantize(isa, x, { heads: 2, dim: 8 });
    const one = await quantize(isa, x.slice(48, 64), { heads: 2, dim: 8 });
    expect(one.codes).toEqual(all.codes.slice(48, 64));
    expect(one.zero).toEqual(all.zero.slice(6, 8));
  });

  test("a row that is not finite is NaN, and no other", async () => {
    const x = normal(3 * 8, seeded(5));
    x[9] = Number.NaN;
    const { codes, scale, values } = await quantize(isa, x, { heads: 1, dim: 8 });
    expect(Array.from(scale, Number.isFinite)).toEqual([true, false, true]);
    expect(Array.from(values, Number.isNaN)).toEqual(
      Array.from({ length: 24 }, (_, i) => i >= 8 && i < 16),
    );
    expect(codes.slice(8, 16)).toEqual(new Uint8Array(8));
  });
});

describe.each(withScalar)("quantizeCache per call on %s", (isa) => {
  test("has one grid per head for all rows and cuts codes off, as the original in f32", async () => {
    const [heads, dim, rows] = [2, 5, 7];
    const x = normal(rows * heads * dim, seeded(6), { heavy: true });
    const { codes, scale, zero, values } = await quantize(isa, x, { heads, dim, form: "call" });
    for (let head = 0; head < heads; head++) {
      const own = x.filter((_, i) => Math.floor(i / dim) % heads === head);
      const [least, largest] = [Math.min(...own), Math.max(...own)];
      const s = f32(f32(largest - least) / 255);
      const z = f32(0 - f32(least / s));
      own.forEach((value, i) => {
        const row = Math.floor(i / dim) * heads + head;
        const code = Math.trunc(Math.min(255, Math.max(0, f32(f32(value / s) + z))));
        expect([scale[row], zero[row]]).toEqual([s, z]);
        expect(codes[row * dim + (i % dim)]).toBe(code);
        expect(values[row * dim + (i % dim)]).toBe(f32(s * f32(code - z)));
      });
    }
  });

  test.each([0, -3.25, 0.1, 1e30])("a head of %d alone comes back exactly", async (value) => {
    const x = new Float32Array(12).fill(value);
    const { codes, scale, zero, values } = await quantize(isa, x, {
      heads: 1,
      dim: 4,
      form: "call",
    });
    expect(values).toEqual(x);
    expect(codes).toEqual(new Uint8Array(12));
    expect(scale).toEqual(new Float32Array(3).fill(1));
    expect(Array.from(zero, Math.abs)).toEqual(Array(3).fill(Math.abs(f32(value))));
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "a head with %d anywhere is NaN, and no other",
    async (value) => {
      const x = normal(6 * 8, seeded(7));
      x[4 * 8 + 1] = value;
      const { values } = await quantize(isa, x, { heads: 2, dim: 4, form: "call" });
      expect(Array.from(values, Number.isNaN)).toEqual(
        Array.from({ length: 48 }, (_, i) => i % 8 < 4),
      );
    },
  );
});

describe.each(withScalar)("cache quantization on %s", (isa) => {
  test("takes no rows, and refuses heads that do not divide the width and shapes that differ", async () => {
    await withDevice({ isa }, async (device) => {
      for (const form of ["token", "call"] as const) {
        const { codes } = ops.quantizeCache(device.zeros("f32", [0, 8]), { heads: 2, form });
        expect(codes.shape).toEqual([0, 8]);
      }
      const x = device.zeros("f32", [3, 8]);
      for (const heads of [0, 3, 1.5]) {
        expect(() => ops.quantizeCache(x, { heads })).toThrow(
          expect.objectContaining({ code: "KERNEL_SHAPE" }),
        );
      }
      const { codes, scale, zero } = ops.quantizeCache(x, { heads: 2 });
      const few = device.zeros("f32", [2, 2]);
      for (const wrong of [
        { codes, scale: few, zero },
        { codes, scale, zero: few },
        { codes, scale: device.zeros("f32", [3, 3]), zero: device.zeros("f32", [3, 3]) },
      ]) {
        expect(() => ops.dequantizeCache(wrong)).toThrow(
          expect.objectContaining({ code: "KERNEL_SHAPE" }),
        );
      }
    });
  });
});

const golden = sharedGolden("kv-cache.safetensors");

describe.skipIf(golden === undefined)("per call, beside the original code in fp32", () => {
  const sides = golden?.names.filter((name) => name.endsWith(".input")) ?? [];
  const cases = sides.flatMap((name) => withScalar.map((isa) => [name, isa] as const));

  test.each(cases)("%s on %s", async (name, isa) => {
    const file = golden!;
    const of = (part: string) => name.replace(/input$/, part);
    const [, heads = 0, rows = 0, dim = 0] = file.shape(name);
    // From [1, heads, rows, n] to [rows, heads · n].
    const byRow = <A extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(x: A): A => {
      const n = x.length / (heads * rows);
      return x.map((_, i) => {
        const [row, head] = [Math.floor(i / (heads * n)), Math.floor(i / n) % heads];
        return x[(head * rows + row) * n + (i % n)]!;
      }) as A;
    };
    const x = byRow(file.f32(name));
    const got = await quantize(isa, x, { heads, dim, form: "call" });
    // The same IEEE operations in the same order: the same bits, without a tolerance.
    expect(got.codes).toEqual(byRow(file.u8(of("codes"))));
    expect(got.scale).toEqual(byRow(file.f32(of("scale"))));
    expect(got.zero).toEqual(byRow(file.f32(of("zero"))));
    expect(got.values).toEqual(byRow(file.f32(of("dequantized"))));
  });
});
