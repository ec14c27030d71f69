import { describe, expect, test } from "vitest";
import { type Device, type GridOptions, ops } from "../../kernels/index.ts";
import { type Floats, roundEven, strided } from "../support/grid.ts";
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
import { expectSameBits } from "../support/tolerance.ts";

const plain: GridOptions = {
  bits: 4,
  symmetric: true,
  keepsPositiveRange: false,
  isSigned: false,
  scaleDtype: "f32",
  minimizesError: false,
};
const asymmetric: GridOptions = { ...plain, symmetric: false };

const stored: Record<GridOptions["scaleDtype"], (scale: number) => number> = {
  f32: (scale) => scale || 2 ** -149,
  f16: (scale) => f16ToNumber(numberToF16(scale)) || 2 ** -24,
  bf16: (scale) => fromBf16(toBf16(Float32Array.of(scale)))[0] || 2 ** -133,
};

type TestGrid = { readonly scale: number; readonly zero: number };

/** The formula of gptq.h with every f32 rounding written out. */
function gridOf(weights: Floats, options: GridOptions, importance?: Floats): TestGrid {
  const range: Range = [Math.min(0, ...weights), Math.max(0, ...weights)];
  const whole = gridOfRange(range, options);
  if (!options.minimizesError) return whole;
  let best = { grid: whole, error: squaredError(weights, whole, options.bits, importance) };
  for (let percent = 100; percent > 20; percent--) {
    const share = Math.fround(1 - Math.fround((100 - percent) / 100));
    const shrunk: Range = [Math.fround(share * range[0]), Math.fround(share * range[1])];
    const grid = gridOfRange(shrunk, options);
    const mirrored = { ...grid, scale: -grid.scale };
    for (const each of options.isSigned ? [grid, mirrored] : [grid]) {
      const error = squaredError(weights, each, options.bits, importance);
      if (error < best.error) best = { grid: each, error };
    }
  }
  return best.grid;
}

/** Rounded to f32 at each step, added up in sixteen sums and those in pairs. */
function squaredError(
  weights: Floats,
  { scale, zero }: TestGrid,
  bits: number,
  importance: Floats | undefined,
): number {
  const sums = new Float32Array(16);
  for (const [j, w] of weights.entries()) {
    const code = Math.min(2 ** bits - 1, Math.max(0, roundEven(Math.fround(w / scale)) + zero));
    const error = Math.fround(w - Math.fround(scale * (code - zero)));
    const square = Math.fround(error * error);
    const counted = Math.fround((importance?.[j] ?? 1) * square);
    sums[j % 16] = (sums[j % 16] ?? 0) + counted;
  }
  for (let width = 8; width > 0; width /= 2) {
    for (let i = 0; i < width; i++) sums[i] = (sums[i] ?? 0) + (sums[i + width] ?? 0);
  }
  return sums[0] ?? 0;
}

type Range = readonly [low: number, high: number];

function gridOfRange(range: Range, options: GridOptions): TestGrid {
  const maxCode = 2 ** options.bits - 1;
  let [low, high] = range;
  if (options.isSigned) {
    const extreme = -low > high ? low : high;
    const middle = (maxCode + 1) / 2;
    const scale = Math.fround((extreme === 0 ? 1 : -extreme) / middle);
    const size = stored[options.scaleDtype](Math.abs(scale));
    return { scale: Math.sign(scale) * size, zero: middle };
  }
  if (options.symmetric) {
    const largest = Math.max(-low, high);
    low = options.keepsPositiveRange && low === 0 ? 0 : -largest;
    high = largest;
  }
  if (low === 0 && high === 0) [low, high] = [-1, 1];
  const scale = stored[options.scaleDtype](Math.fround(Math.fround(high - low) / maxCode));
  const zero = Math.min(maxCode, roundEven(Math.fround(-low / scale)));
  return { scale, zero: options.symmetric ? (maxCode + 1) / 2 : zero };
}

async function findGrid(
  device: Device,
  w: Floats,
  out: number,
  options: GridOptions,
  size: number,
  importance?: Floats,
) {
  const { view } = strided(device, w, out, w.length / out);
  const counted = importance && device.from("f32", importance);
  const { scales, zeros } = ops.findGrid(view, options, size, counted);
  return { scales: await scales.read(), zeros: await zeros.read() };
}

const variants: readonly GridOptions[] = [2, 3, 4, 8].flatMap((bits) =>
  (["f32", "f16", "bf16"] as const).flatMap((scaleDtype) => [
    { ...plain, bits, scaleDtype },
    { ...plain, bits, scaleDtype, keepsPositiveRange: true },
    { ...plain, bits, scaleDtype, isSigned: true },
    { ...asymmetric, bits, scaleDtype },
  ]),
);

describe("findGrid", () => {
  const shapes = [
    [1, 1, 1],
    [3, 5, 2],
    [2, 17, 16],
    [5, 33, 8],
    [4, 31, 31],
    [2, 129, 128],
    [3, 130, 1000],
  ] as const;
  const cases = implementations.flatMap((isa) =>
    shapes.map(([out, n, size]) => ({ isa, out, n, size })),
  );

  test.each(cases)("follows the formula exactly: $out × $n by $size on $isa", async (at) => {
    const w = normal(at.out * at.n, seeded(at.n), { scale: 0.02, heavy: true });
    const groups = Math.ceil(at.n / at.size);
    await withDevice({ isa: at.isa }, async (device) => {
      for (const options of variants) {
        const actual = await findGrid(device, w, at.out, options, at.size);
        const expected = Array.from({ length: at.out * groups }, (_, i) => {
          const first = Math.floor(i / groups) * at.n + (i % groups) * at.size;
          const columns = Math.min(at.size, at.n - (i % groups) * at.size);
          return gridOf(w.slice(first, first + columns), options);
        });
        const label = JSON.stringify(options);
        expectSameBits(
          actual.scales,
          Float32Array.from(expected, (g) => g.scale),
          label,
        );
        expect(actual.zeros, label).toEqual(Int32Array.from(expected, (g) => g.zero));
      }
    });
  });

  // Rows of one group of two columns.
  const special: readonly [string, GridOptions, readonly number[], number, number][] = [
    ["gives a group of zeros the range [-1, 1]", plain, [0, 0], 2 / 15, 8],
    ["gives it the middle of an asymmetric grid", asymmetric, [0, 0], 2 / 15, 7],
    ["uses the whole symmetric grid for positive weights", plain, [1, 3], 6 / 15, 8],
    [
      "halves it for positive weights as AutoGPTQ does, when asked",
      { ...plain, keepsPositiveRange: true },
      [1, 3],
      3 / 15,
      8,
    ],
    [
      "does not halve it for negative weights",
      { ...plain, keepsPositiveRange: true },
      [-1, -3],
      6 / 15,
      8,
    ],
    ["puts the largest weight at the long end", { ...plain, isSigned: true }, [1, -4], 4 / 8, 8],
    ["mirrors the grid where it is positive", { ...plain, isSigned: true }, [-1, 4], -4 / 8, 8],
    ["takes one side for a group of zeros", { ...plain, isSigned: true }, [0, 0], 1 / 8, 8],
    [
      "keeps the sign of a scale that would vanish",
      { ...plain, isSigned: true, scaleDtype: "f16" },
      [2 ** -40, 0],
      -(2 ** -24),
      8,
    ],
    ["starts an asymmetric range of positive weights at 0", asymmetric, [1, 3], 3 / 15, 0],
    ["ends one of negative weights at 0", asymmetric, [-1, -3], 3 / 15, 15],
    [
      "keeps a subnormal binary16 scale",
      { ...plain, scaleDtype: "f16" },
      [7.5 * 2 ** -20, 0],
      2 ** -20,
      8,
    ],
    [
      "raises a scale that would vanish in binary16",
      { ...plain, scaleDtype: "f16" },
      [2 ** -40, 0],
      2 ** -24,
      8,
    ],
    [
      "keeps a zero within the codes where storing shrinks the scale",
      { ...asymmetric, scaleDtype: "f16" },
      [-15 * 1.49 * 2 ** -24, 0],
      2 ** -24,
      15,
    ],
  ];

  test.each(special)("%s", async (_, options, weights, scale, zero) => {
    for (const isa of implementations) {
      await withDevice({ isa }, async (device) => {
        const actual = await findGrid(device, Float32Array.from(weights), 1, options, 2);
        expect(actual.scales[0], isa).toBe(Math.fround(scale));
        expect(actual.zeros[0], isa).toBe(zero);
      });
    }
  });
});

describe("findGrid that minimizes the error", () => {
  const search = { ...plain, minimizesError: true };
  /** A weight ten times as large as the rest of its group. */
  const outlier = Float32Array.from({ length: 64 }, (_, i) => (i === 5 ? 1 : Math.sin(i) / 10));
  const find = async (isa: Implementation, w: Floats, options: GridOptions, importance?: Floats) =>
    await withDevice({ isa }, (device) => findGrid(device, w, 1, options, w.length, importance));

  const sizes = [
    [1, 1],
    [5, 2],
    [33, 8],
    [31, 31],
    [65, 17],
  ] as const;

  test.each(sizes)("follows the formula exactly: %i columns by %i", async (n, size) => {
    const w = normal(2 * n, seeded(n), { scale: 0.02, heavy: true });
    const importance = normal(n, seeded(n + 1)).map((x) => x * x);
    const groups = Math.ceil(n / size);
    for (const options of [
      { ...search, bits: 3 },
      { ...search, scaleDtype: "f16" },
      { ...search, scaleDtype: "f16", isSigned: true },
      { ...search, bits: 2, isSigned: true },
      { ...search, bits: 8, symmetric: false, scaleDtype: "bf16" },
    ] as const) {
      const expected = Array.from({ length: 2 * groups }, (_, i) => {
        const first = (i % groups) * size;
        const row = w.slice(Math.floor(i / groups) * n).subarray(0, n);
        const cut = (x: Floats) => x.slice(first, first + size);
        return gridOf(cut(row), options, cut(importance));
      });
      for (const isa of implementations) {
        await withDevice({ isa }, async (device) => {
          const actual = await findGrid(device, w, 2, options, size, importance);
          const label = `${isa} ${JSON.stringify(options)}`;
          const scales = Float32Array.from(expected, (g) => g.scale);
          expectSameBits(actual.scales, scales, label);
          expect(actual.zeros, label).toEqual(Int32Array.from(expected, (g) => g.zero));
        });
      }
    }
  });

  test.each(implementations)("counts all columns the same by default on %s", async (isa) => {
    const actual = await find(isa, outlier, search);
    const expected = gridOf(outlier, search);
    expect(actual.scales[0]).toBe(expected.scale);
    expect(expected.scale).toBeLessThan(gridOf(outlier, plain).scale);
  });

  test.each(implementations)("follows what columns count on %s", async (isa) => {
    const ignoring = outlier.map((_, i) => (i === 5 ? 0 : 1));
    const insisting = outlier.map((_, i) => (i === 5 ? 1e6 : 1));
    const [clipped] = (await find(isa, outlier, search, ignoring)).scales;
    const [whole] = (await find(isa, outlier, search, insisting)).scales;
    expect((clipped ?? 1) * 8).toBeLessThan(0.3);
    expect((whole ?? 0) * 8).toBeGreaterThan(0.9);
  });

  test.each(implementations)("keeps the whole range where nothing is better on %s", async (isa) => {
    for (const w of [
      [0, 0],
      [Number.NaN, 1],
      [Number.POSITIVE_INFINITY, 1],
      [3e38, -3e38],
    ]) {
      const weights = Float32Array.from(w);
      const [scale] = (await find(isa, weights, search)).scales;
      expect(scale, `${w}`).toEqual((await find(isa, weights, plain)).scales[0]);
    }
  });

  test("refuses an importance of another length", async () => {
    await expect(find("scalar", outlier, search, new Float32Array(63))).rejects.toMatchObject({
      name: "KernelError",
      code: "KERNEL_SHAPE",
    });
  });
});
