import { describe, expect, test } from "vitest";
import {
  type Device,
  type F32,
  type FloatTensor,
  type HeadScreen,
  ops,
} from "../../kernels/index.ts";
import { implementations, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { type StoredDType, stored } from "../support/stored.ts";
import { norm } from "../support/tolerance.ts";

type Shape = {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly dtype: StoredDType;
};

const cases: readonly Shape[] = [
  { rows: 1, in: 8, out: 1, dtype: "f32" },
  { rows: 1, in: 128, out: 300, dtype: "bf16" },
  { rows: 3, in: 200, out: 97, dtype: "f16" },
  { rows: 2, in: 384, out: 1500, dtype: "bf16" },
];

function screenOf(device: Device, shape: Shape, seed: number) {
  const random = seeded(seed);
  const values = normal(shape.out * shape.in, random, { scale: 0.02 });
  const weight: FloatTensor = stored(device, shape.dtype, values, [shape.out, shape.in]).tensor;
  const x: F32 = device.from("f32", normal(shape.rows * shape.in, random, { heavy: true }), [
    shape.rows,
    shape.in,
  ]);
  return { weight, x, screen: ops.packRows(weight) };
}

async function exactIndex(x: F32, weight: FloatTensor, limit: number) {
  return await ops.argmax(ops.linear(x, weight), limit).read();
}

async function screened(x: F32, weight: FloatTensor, screen: HeadScreen, limit: number) {
  const { index, scored } = ops.screenedArgmax(x, weight, screen, limit);
  return { index: await index.read(), scored: await scored.read() };
}

describe.each(implementations)("a screened head on %s", (isa) => {
  test.each(cases)("differs from the exact one by at most its slack, for %j", async (shape) => {
    await withDevice({ isa }, async (device) => {
      const { weight, x, screen } = screenOf(device, shape, 1);
      const exact = await ops.linear(x, weight).read();
      const approx = await ops.quantizedLinear(x, screen.packed).read();
      const [slack, inputs] = [await screen.slack.read(), await x.read()];
      for (const [i, value] of exact.entries()) {
        const size = norm(inputs, Math.floor(i / shape.out) * shape.in, shape.in);
        expect(Math.abs(value - approx[i]!)).toBeLessThanOrEqual(size * slack[i % shape.out]!);
      }
      // A bound that rules nothing out would be one too: rounding to 8 bits is finer than one part in fifty.
      const weights = await ops.cast(weight, "f32", device.zeros("i32", [2])).read();
      for (const [o, bound] of slack.entries()) {
        expect(bound).toBeLessThan(0.02 * norm(weights, o * shape.in, shape.in));
      }
    });
  });

  test.each(cases)("finds the index of the exact one, for %j", async (shape) => {
    await withDevice({ isa }, async (device) => {
      // The emulation is slow.
      const seeds = isa === "cuda" ? 3 : 10;
      for (let seed = 0; seed < seeds; seed++) {
        const { weight, x, screen } = screenOf(device, shape, seed);
        for (const limit of [shape.out, Math.ceil(shape.out / 2)]) {
          const { index, scored } = await screened(x, weight, screen, limit);
          expect(index).toEqual(await exactIndex(x, weight, limit));
          expect(Math.max(...scored)).toBeLessThanOrEqual(Math.max(8, shape.out / 2));
        }
      }
    });
  });

  test("gives the first of equal rows, however many there are", async () => {
    await withDevice({ isa }, async (device) => {
      const row = normal(64, seeded(3));
      const values = new Float32Array(600 * 64);
      for (let o = 0; o < 600; o++) values.set(o < 5 ? row.map((w) => -w) : row, o * 64);
      const weight = device.from("f32", values, [600, 64]);
      const x = device.from("f32", Float32Array.from(row), [1, 64]);
      const { index, scored } = await screened(x, weight, ops.packRows(weight), 600);
      expect([...index, ...scored]).toEqual([5, 595]);
    });
  });

  test("reports NaN where it could be the largest, as argmax does", async () => {
    await withDevice({ isa }, async (device) => {
      const values = normal(50 * 16, seeded(4));
      values[33 * 16 + 2] = Number.NaN;
      const weight = device.from("f32", values, [50, 16]);
      const x = device.from("f32", normal(16, seeded(5)), [1, 16]);
      const screen = ops.packRows(weight);
      expect((await screened(x, weight, screen, 50)).index).toEqual(Int32Array.of(-1));
      expect((await screened(x, weight, screen, 33)).index).toEqual(
        await exactIndex(x, weight, 33),
      );
      const bad = device.from("f32", new Float32Array(16).fill(Number.NaN), [1, 16]);
      expect((await screened(bad, weight, screen, 33)).index).toEqual(Int32Array.of(-1));
    });
  });
});
