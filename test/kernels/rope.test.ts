import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { implementations, withDevice } from "../support/kernels.ts";
import { integers, normal, seeded } from "../support/random.ts";
import { eps, expectClose, expectSameBits } from "../support/tolerance.ts";

/** cos and sin of position · base^(−2j / dim), both factors and the angle rounded to f32. */
function expectedTable(positions: ArrayLike<number>, bases: ArrayLike<number>, dim: number) {
  return Array.from(positions).flatMap((position, row) => {
    const base = Math.fround(bases[row] ?? Number.NaN);
    const angles = Array.from({ length: dim / 2 }, (_, j) =>
      Math.fround(Math.fround(position) * Math.fround(base ** ((-2 * j) / dim))),
    );
    return [...angles.map(Math.cos), ...angles.map(Math.sin)];
  });
}

describe.each(implementations)("rope on %s", (isa) => {
  test("the table holds the cosines and sines of every row's own base and position", async () => {
    const positions = Int32Array.of(0, 1, 2, 8191, 3, 32767, 5);
    const sequences = Int32Array.of(0, 0, 1, 1, 2, 0, 0);
    const bases = Float32Array.of(10000, 41234.5, 1e6);
    for (const dim of [2, 6, 64, 128]) {
      const actual = await withDevice({ isa }, async (device) => {
        using p = device.from("i32", positions);
        using s = device.from("i32", sequences);
        using b = device.from("f32", bases);
        using table = ops.ropeTable(p, s, b, dim);
        return table.read();
      });
      const rowBases = Array.from(sequences, (sequence) => bases[sequence] ?? Number.NaN);
      // pow may differ by one unit in the last place of double, so a frequency seldom rounds to its other
      // f32 neighbour: an angle may then be off by two units.
      const want = expectedTable(positions, rowBases, dim);
      const near = (i: number) =>
        eps +
        4 * eps * (positions[Math.floor(i / dim)] ?? 0) * 10000 ** ((-2 * (i % (dim / 2))) / dim);
      expectClose(actual, want, near, `dim ${dim}`);
      const different = want.filter((value, i) => Math.abs(value - (actual[i] ?? 0)) > eps);
      expect(different.length).toBeLessThanOrEqual(want.length / 100);
    }
  });

  test("rotates the halves of every head of a strided view and nothing beside it", async () => {
    const random = seeded(1);
    for (const [heads, dim] of [
      [1, 2],
      [3, 6],
      [2, 34],
      [4, 128],
    ] as const) {
      const width = heads * dim;
      const stride = width + 3;
      const values = normal(5 * stride, random);
      const positions = integers(5, 2000, random);
      const { actual, angles } = await withDevice({ isa }, async (device) => {
        using p = device.from("i32", positions);
        using s = device.zeros("i32", [5]);
        using b = device.from("f32", Float32Array.of(10000));
        using table = ops.ropeTable(p, s, b, dim);
        using buffer = device.from("f32", values, [5, stride]);
        using x = buffer.narrow(1, 1, width);
        ops.rope(x, table);
        return { actual: await buffer.read(), angles: await table.read() };
      });
      const want = Array.from(values);
      for (let row = 0; row < 5; row++) {
        for (let head = 0; head < heads; head++) {
          for (let j = 0; j < dim / 2; j++) {
            const a = row * stride + 1 + head * dim + j;
            const [c = 0, s = 0] = [angles[row * dim + j], angles[row * dim + dim / 2 + j]];
            const [u = 0, v = 0] = [values[a], values[a + dim / 2]];
            want[a] = u * c - v * s;
            want[a + dim / 2] = v * c + u * s;
          }
        }
      }
      const isCanary = (i: number) => i % stride === 0 || i % stride > width;
      // Two products and a sum, each rounded: 3 eps · (|u| + |v|), and |u|, |v| < 6.
      expectClose(actual, want, (i) => (isCanary(i) ? 0 : 36 * eps), `${heads} x ${dim}`);
    }
  });

  test("the inverse positions turn a rotation back", async () => {
    const values = normal(64 * 256, seeded(2));
    const back = await withDevice({ isa }, async (device) => {
      using x = device.from("f32", values, [64, 256]);
      using s = device.zeros("i32", [64]);
      using b = device.from("f32", Float32Array.of(10000));
      for (const sign of [1, -1]) {
        using p = device.from(
          "i32",
          Int32Array.from({ length: 64 }, (_, i) => sign * i * 31),
        );
        using table = ops.ropeTable(p, s, b, 64);
        ops.rope(x, table);
      }
      return x.read();
    });
    expectClose(back, values, 12 * eps * 6);
  });

  test("a row has the same bits alone and on one thread", async () => {
    const values = normal(100 * 512, seeded(3));
    const run = (first: number, count: number, threads: number) =>
      withDevice({ isa, threads }, async (device) => {
        const part = values.slice(first * 512, (first + count) * 512);
        using x = device.from("f32", part, [count, 512]);
        using p = device.from(
          "i32",
          Int32Array.from({ length: count }, (_, i) => first + i),
        );
        using s = device.zeros("i32", [count]);
        using b = device.from("f32", Float32Array.of(10000));
        using table = ops.ropeTable(p, s, b, 128);
        ops.rope(x, table);
        return x.read();
      });
    const all = await run(0, 100, 2);
    expectSameBits(await run(0, 100, 1), all, "one thread");
    expectSameBits(await run(77, 1, 2), all.slice(77 * 512, 78 * 512), "row 77");
  });
});

describe.each(["scalar", "cuda"] as const)("rope on %s", (isa) => {
  test("a row of a sequence without a base faults the device", async () => {
    const outcome = withDevice({ isa }, async (device) => {
      using p = device.from("i32", Int32Array.of(0));
      using s = device.from("i32", Int32Array.of(2));
      using b = device.from("f32", Float32Array.of(1, 2));
      ops.ropeTable(p, s, b, 4);
    });
    await expect(outcome).rejects.toMatchObject({ code: "KERNEL_VALUE" });
  });

  test("refuses an odd head and rows that are not whole heads", async () => {
    await withDevice({ isa }, async (device) => {
      const rows = device.zeros("i32", [1]);
      const base = device.zeros("f32", [1]);
      const refusal = expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" });
      expect(() => ops.ropeTable(rows, rows, base, 5)).toThrow(refusal);
      const table = device.zeros("f32", [1, 8]);
      expect(() => ops.rope(device.zeros("f32", [1, 12]), table)).toThrow(refusal);
    });
  });
});
