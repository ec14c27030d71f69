import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { type Floats, roundEven, strided } from "../support/grid.ts";
import { type Implementation, implementations, withDevice } from "../support/kernels.ts";
import { integers, normal, seeded } from "../support/random.ts";
import { expectSameBits } from "../support/tolerance.ts";

type Rounding = { isa: Implementation; threads?: number; bits: number; out: number; n: number };

function roundingInput(at: Rounding, w: Floats) {
  const random = seeded(at.n);
  const groups = 3;
  return {
    w,
    columnGroup: integers(at.n, groups, random),
    scales: normal(at.out * groups, random).map((value) => Math.abs(value) * 0.1 + 0.01),
    zeros: integers(at.out * groups, 2 ** at.bits, random),
  };
}

async function roundToGrid(at: Rounding, input: ReturnType<typeof roundingInput>) {
  return await withDevice(at, async (device) => {
    const { whole, view } = strided(device, input.w, at.out, at.n);
    const codes = device.from("u8", new Uint8Array((at.out + 2) * at.n).fill(99), [
      at.out + 2,
      at.n,
    ]);
    const weight = {
      w: view,
      columnGroup: device.from("i32", input.columnGroup),
      scales: device.from("f32", input.scales, [at.out, 3]),
      zeros: device.from("i32", input.zeros, [at.out, 3]),
      codes: codes.narrow(0, 1, at.out),
    };
    ops.roundToGrid(weight, at.bits);
    return { w: await whole.read(), codes: await codes.read() };
  });
}

describe("roundToGrid", () => {
  const cases = implementations.flatMap((isa) =>
    [1, 2, 7, 8, 9, 15, 16, 17, 100].flatMap((n) =>
      [2, 4, 8].map((bits) => ({ isa, bits, out: (n % 5) + 1, n })),
    ),
  );

  test.each(cases)("rounds quotients to even: $out × $n, $bits bits, $isa", async (at) => {
    const w = normal(at.out * at.n, seeded(at.bits), { heavy: true });
    const input = roundingInput(at, w);
    const codes = new Uint8Array((at.out + 2) * at.n).fill(99);
    const rounded = new Float32Array(at.out * (at.n + 3)).fill(Number.NaN);
    for (let i = 0; i < w.length; i++) {
      const row = Math.floor(i / at.n);
      const group = row * 3 + (input.columnGroup[i % at.n] ?? 0);
      const scale = input.scales[group] ?? 0;
      // Every third weight exactly between two codes, where scale · (k + 1/2) is exact.
      if (i % 3 === 0) w[i] = scale * (Math.round((w[i] ?? 0) / scale / 64) + 0.5);
      const zero = input.zeros[group] ?? 0;
      const code = roundEven(Math.fround((w[i] ?? 0) / scale)) + zero;
      const clamped = Math.min(2 ** at.bits - 1, Math.max(0, code));
      codes[i + at.n] = clamped;
      rounded[row * (at.n + 3) + (i % at.n) + 1] = scale * (clamped - zero);
    }
    const actual = await roundToGrid(at, input);
    expect(actual.codes).toEqual(codes);
    expect(actual.w.map((x) => x + 0)).toEqual(rounded.map((x) => x + 0));
  });

  test.each(implementations)("keeps codes in range for any weight on %s", async (isa) => {
    const huge = [3e38, -3e38, 1e20, -1e20, 2 ** 31, -(2 ** 31), 2 ** 32, 1e-45, -0];
    const broken = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    const w = Float32Array.from([...huge, ...broken, ...huge, ...broken]);
    const at = { isa, bits: 3, out: 1, n: w.length };
    const { w: rounded, codes } = await roundToGrid(at, roundingInput(at, w));
    for (let i = 0; i < at.n; i++) {
      expect(codes[i + at.n], `code of ${w[i]}`).toBeLessThanOrEqual(7);
      expect(Number.isFinite(rounded[i + 1]), `${w[i]} rounded`).toBe(Number.isFinite(w[i]));
    }
  });

  test.each(implementations)("does not depend on the number of threads on %s", async (isa) => {
    const at = { isa, bits: 4, out: 70, n: 1000 };
    const input = roundingInput(at, normal(at.out * at.n, seeded(1)));
    const one = await roundToGrid({ ...at, threads: 1 }, input);
    const two = await roundToGrid({ ...at, threads: 2 }, input);
    expectSameBits(two.w, one.w);
    expect(two.codes).toEqual(one.codes);
  });

  test.each(implementations)("rejects a column that belongs to no group on %s", async (isa) => {
    const at = { isa, bits: 4, out: 1, n: 4 };
    const input = roundingInput(at, new Float32Array(4));
    for (const group of [3, -1]) {
      input.columnGroup[2] = group;
      await expect(roundToGrid(at, input)).rejects.toMatchObject({
        name: "KernelError",
        code: "KERNEL_VALUE",
        message: expect.stringMatching(/^roundToGrid: column.*2.* (3|-1)/),
      });
    }
  });
});
