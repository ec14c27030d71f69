import { describe, expect, test } from "vitest";
import {
  type Device,
  type DType,
  type F32,
  type FloatTensor,
  ops,
  type PackedWeight,
  type Tensor,
} from "../../kernels/index.ts";
import { planLayout } from "../../kernels/ops/packed-layout.ts";
import {
  type GptqCase,
  type GptqShape,
  gptqCases,
  plainGptqShape,
  randomActivations,
  randomGptqWeight,
} from "../support/gptq-weight.ts";
import { type Implementation, levelsOf, withDevice } from "../support/kernels.ts";
import { expectedLinear, linearTolerance } from "../support/matmul.ts";
import { normal, seeded } from "../support/random.ts";
import { stored } from "../support/stored.ts";
import { expectClose, expectSameBits } from "../support/tolerance.ts";

const plain = plainGptqShape;
// Sizes that only the packed layout tells apart: whole blocks, more inputs than one, tiles of 6 rows.
const cases: readonly GptqCase[] = [
  ...gptqCases,
  { rows: 1, in: 384, out: 136, groupSize: 128 },
  { rows: 6, bits: 8, in: 36, out: 20, groupSize: 6, scattered: true },
  { rows: 25, in: 512, out: 88, groupSize: 256 },
  { rows: 3, bits: 2, in: 272, out: 48, groupSize: 32 },
  { rows: 9, bits: 2, in: 144, out: 80, groupSize: 20, scattered: true, scaleDtype: "bf16" },
  { rows: 1, bits: 3, in: 352, out: 96, groupSize: 128 },
  { rows: 7, bits: 3, in: 96, out: 32, groupSize: 96, zeroOffset: 0, scaleDtype: "f32" },
  { rows: 30, bits: 3, in: 160, out: 64, groupSize: 36, scattered: true },
];

async function pack(
  device: Device,
  shape: GptqShape,
  random: () => number,
): Promise<{ packed: PackedWeight; values: Float32Array<ArrayBuffer> }> {
  const { weight, values } = randomGptqWeight(device, shape, random);
  const groupIndex = await weight.groupIndex?.read();
  return { packed: ops.packLinear(weight, { groupIndex }), values };
}

function multiplyBytes(x: F32, packed: PackedWeight): F32 {
  return ops.quantizedLinear(x, packed, { activations: "int8" });
}

function multiply(x: F32, packed: PackedWeight, bias?: FloatTensor): F32 {
  return ops.quantizedLinear(x, packed, { bias });
}

/**
 * What rounding the activations may add to an element: for each block half a step (and the two roundings before it, 0.004 of a step)
 * times the magnitudes of the block's weights.
 */
function roundingBound(
  c: { rows: number; in: number; out: number; x: Float32Array; weight: Float32Array },
  layout: ReturnType<typeof planLayout>,
  largestCode = 32639,
): (index: number) => number {
  const { blockSize, blockGroups } = layout;
  const inputAt = (place: number): number => layout.order?.[place] ?? place;
  const isInput = (input: number): boolean => input >= 0 && input < c.in;
  return (index) => {
    const [row, output] = [Math.floor(index / c.out), index % c.out];
    let bound = 0;
    for (let block = 0; block < blockGroups.length; block++) {
      const places = Array.from({ length: blockSize }, (_, i) => inputAt(block * blockSize + i));
      const inside = places.filter(isInput);
      const most = Math.max(0, ...inside.map((i) => Math.abs(c.x[row * c.in + i]!)));
      const weights = inside.reduce((sum, i) => sum + Math.abs(c.weight[output * c.in + i]!), 0);
      bound += (0.506 / largestCode) * most * weights;
    }
    return bound;
  };
}

describe.each<Implementation>([...levelsOf("packedLinear"), "cuda"])(
  "packedLinear on %s",
  (isa) => {
    test.each(cases)("agrees with double precision for %j", async ({ rows, ...partial }) => {
      const shape = { ...plain, ...partial };
      await withDevice({ isa }, async (device) => {
        const random = seeded(rows * 131 + shape.in * 17 + shape.out);
        const { weight, values } = randomGptqWeight(device, shape, random);
        const groupIndex = await weight.groupIndex?.read();
        const packed = ops.packLinear(weight, { groupIndex });
        const x = randomActivations(device, rows, shape.in, random);
        const bias = stored(device, shape.scaleDtype, normal(shape.out, random));
        const y = await multiply(x, packed, bias.tensor).read();
        const c = { ...shape, rows, x: await x.read(), weight: values, bias: bias.values };
        const rounding = roundingBound(c, planLayout(shape.in, shape.groupSize, groupIndex));
        const summing = linearTolerance(c);
        expectClose(y, expectedLinear(c), (i) => rounding(i) + summing(i), isa);
      });
    });

    test.each(cases)("gives the bits of the plain loops for %j", async ({ rows, ...partial }) => {
      const shape = { ...plain, ...partial };
      const run = (level: Implementation, threads: number): Promise<Float32Array<ArrayBuffer>> =>
        withDevice({ isa: level, threads }, async (device) => {
          const random = seeded(rows + shape.in);
          const { packed } = await pack(device, shape, random);
          return await multiply(randomActivations(device, rows, shape.in, random), packed).read();
        });
      const expected = await run("scalar", 2);
      expectSameBits(await run(isa, 2), expected, "two threads");
      expectSameBits(await run(isa, 1), expected, "one thread");
    });

    test.each(cases)("of 8-bit activations agrees too, and in its bits, for %j", async (at) => {
      const { rows, ...partial } = at;
      const shape = { ...plain, ...partial };
      const run = (level: Implementation) =>
        withDevice({ isa: level }, async (device) => {
          const random = seeded(rows * 131 + shape.in * 17 + shape.out);
          const { weight, values } = randomGptqWeight(device, shape, random);
          const groupIndex = await weight.groupIndex?.read();
          const x = randomActivations(device, rows, shape.in, random);
          const y = await multiplyBytes(x, ops.packLinear(weight, { groupIndex })).read();
          return { y, x: await x.read(), weight: values, groupIndex };
        });
      const { y, groupIndex, ...operands } = await run(isa);
      const c = { ...shape, rows, ...operands, bias: undefined };
      const layout = planLayout(shape.in, shape.groupSize, groupIndex);
      const rounding = roundingBound(c, layout, 127);
      const summing = linearTolerance(c);
      expectClose(y, expectedLinear(c), (i) => rounding(i) + summing(i), isa);
      expectSameBits(y, (await run("scalar")).y);
    });

    test.each([4, 8] as const)(
      "gives a row the same bits whatever the number of rows (%i bits)",
      async (bits) => {
        const [rows, shape] = [99, { ...plain, bits, in: 552, out: 200, scattered: bits === 8 }];
        await withDevice({ isa }, async (device) => {
          const random = seeded(1);
          const { packed } = await pack(device, shape, random);
          const x = randomActivations(device, rows, shape.in, random);
          const all = await multiply(x, packed).read();
          for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 95, 96, 97]) {
            const last = await multiply(x.narrow(0, rows - count, count), packed).read();
            expectSameBits(last, all.slice((rows - count) * shape.out), `${count} rows`);
          }
          const bytes = await multiplyBytes(x, packed).read();
          for (const count of [1, 3, 8, 9, 95]) {
            const last = await multiplyBytes(x.narrow(0, rows - count, count), packed).read();
            expectSameBits(last, bytes.slice((rows - count) * shape.out), `${count} rows of bytes`);
          }
        });
      },
    );

    test.each([1, 5, 40])("reads a packed weight at any address (%i rows)", async (rows) => {
      await withDevice({ isa }, async (device) => {
        const random = seeded(3);
        const { packed } = await pack(device, { ...plain, in: 136, out: 72, groupSize: 8 }, random);
        const x = randomActivations(device, rows, 136, random);
        const second = <D extends DType>(all: Tensor<D>, { shape }: Tensor<D>) =>
          all.narrow(0, 1, all.size(0) - 1).reshape(shape);
        const [scales, zeros] = [packed.scales as Tensor<"f16">, packed.zeros as Tensor<"u8">];
        const words = device.from("i32", Int32Array.of(0, ...(await packed.words.read())));
        const elsewhere: PackedWeight = {
          ...packed,
          words: second(words, packed.words),
          scales: second(device.from("f16", Uint16Array.of(0, ...(await scales.read()))), scales),
          zeros: second(device.from("u8", Uint8Array.of(0, ...(await zeros.read()))), zeros),
        };
        expectSameBits(await multiply(x, elsewhere).read(), await multiply(x, packed).read());
      });
    });

    test("takes one zero for all where that is known", async () => {
      await withDevice({ isa }, async (device) => {
        const { weight } = randomGptqWeight(device, { ...plain, in: 136, groupSize: 8 }, seeded(4));
        const same = {
          ...weight,
          qzeros: device.from("i32", new Int32Array(34).fill(0x77777777), [17, 2]),
        };
        const x = randomActivations(device, 3, 136, seeded(5));
        const expected = await multiply(x, ops.packLinear(same)).read();
        const packed = ops.packLinear(same, { zero: 8 });
        expect(packed.zeros).toBeUndefined();
        expectSameBits(await multiply(x, packed).read(), expected);
      });
    });

    test.each([1, 8, 33])(
      "rounds, multiplies and adds in one operation (%i rows)",
      async (rows) => {
        const shape: GptqShape = { ...plain, in: 200, out: 84, bits: 8, scattered: rows === 8 };
        await withDevice({ isa }, async (device) => {
          const random = seeded(rows);
          const { packed } = await pack(device, shape, random);
          const x = randomActivations(device, rows, 200, random);
          const bias = stored(device, "bf16", normal(84, random)).tensor;
          const residual = randomActivations(device, rows, 84, random);
          const y = await ops.quantizedLinear(x, packed, { bias, residual }).read();
          expectSameBits(y, await ops.add(residual, multiply(x, packed, bias)).read());
        });
      },
    );

    test.each([3, 40])("keeps NaN and infinity in their rows (%i rows)", async (rows) => {
      await withDevice({ isa }, async (device) => {
        const random = seeded(5);
        const { packed } = await pack(device, plain, random);
        const x = normal(rows * plain.in, random);
        const clean = await multiply(device.from("f32", x, [rows, plain.in]), packed).read();
        x[plain.in + 63] = Number.NaN;
        x[2 * plain.in + 5] = Number.NEGATIVE_INFINITY;
        const y = await multiply(device.from("f32", x, [rows, plain.in]), packed).read();
        expect(y.slice(plain.out, 3 * plain.out).some(Number.isFinite)).toBe(false);
        expectSameBits(y.slice(0, plain.out), clean.slice(0, plain.out));
        expectSameBits(y.slice(3 * plain.out), clean.slice(3 * plain.out));
      });
    });

    test("is exact about extremes: zeros, tiny and huge magnitudes, the largest codes", async () => {
      await withDevice({ isa }, async (device) => {
        const shape: GptqShape = {
          ...plain,
          bits: 8,
          in: 128,
          out: 16,
          groupSize: 128,
          scaleDtype: "f32",
        };
        const { weight } = randomGptqWeight(device, shape, seeded(2));
        const extreme = {
          ...weight,
          qweight: device.from("i32", new Int32Array(32 * 16).fill(-1), [32, 16]),
          qzeros: device.from("i32", new Int32Array(4).fill(-1), [1, 4]), // zero 0 in the v1 layout
          scales: device.from("f32", new Float32Array(16).fill(1), [1, 16]),
        };
        const packed = ops.packLinear(extreme);
        const magnitudes = [0, 1e-44, 1e-30, 1, 1e33];
        const x = Float32Array.from(
          { length: 5 * 128 },
          (_, i) => magnitudes[Math.floor(i / 128)]!,
        );
        const y = await multiply(device.from("f32", x, [5, 128]), packed).read();
        for (const [row, magnitude] of magnitudes.entries()) {
          const expected = 255 * 128 * magnitude;
          // 1e-44 is seven units of the smallest f32: its scale is zero.
          const allowed = magnitude < 1e-40 ? 255 * 128 * 1e-44 : expected * 2 ** -22;
          expectClose(y.slice(row * 16, row * 16 + 16), new Array(16).fill(expected), allowed);
        }
      });
    });

    test("accepts no rows", async () => {
      await withDevice({ isa }, async (device) => {
        const { packed } = await pack(device, plain, seeded(2));
        expect(await multiply(device.zeros("f32", [0, plain.in]), packed).read()).toEqual(
          new Float32Array(0),
        );
      });
    });
  },
);

test("packLinear and quantizedLinear refuse what does not fit, at the call", async () => {
  await withDevice({ isa: "scalar" }, async (device) => {
    const { weight } = randomGptqWeight(device, plain, seeded(2));
    const code = (expected: string) =>
      expect.objectContaining({ name: "KernelError", code: expected });
    expect(() => ops.packLinear({ ...weight, qzeros: device.zeros("i32", [2, 1]) })).toThrow(
      code("KERNEL_SHAPE"),
    );
    expect(() => ops.packLinear(weight, { zero: 16 })).toThrow(code("KERNEL_VALUE"));
    const packed = ops.packLinear(weight);
    const x = device.zeros("f32", [2, plain.in]);
    const refused: readonly (() => unknown)[] = [
      () => ops.quantizedLinear(x, { ...packed, outFeatures: 17 }),
      () => ops.quantizedLinear(x, packed, { bias: device.zeros("f32", [8]) }),
      () => ops.quantizedLinear(x, packed, { residual: device.zeros("f32", [1, plain.out]) }),
      () => ops.quantizedLinear(device.zeros("f32", [2, 65]), packed),
    ];
    for (const call of refused) expect(call).toThrow(code("KERNEL_SHAPE"));
  });
});

test.each(["scalar", "cuda"] as const)(
  "packLinear refuses a group that does not exist on %s",
  async (isa) => {
    const run = withDevice({ isa }, async (device) => {
      const { weight } = randomGptqWeight(device, plain, seeded(2));
      const groupIndex = new Int32Array(plain.in).fill(7);
      await ops.packLinear(weight, { groupIndex }).words.read();
    });
    await expect(run).rejects.toMatchObject({ name: "KernelError", code: "KERNEL_VALUE" });
  },
);
