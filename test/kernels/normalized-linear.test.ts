// Norms that are part of a product: the bits of rmsNorm and the product without one.
import { describe, expect, test } from "vitest";
import { type Device, type F32, ops, type RmsNorm } from "../../kernels/index.ts";
import {
  type GptqCase,
  plainGptqShape,
  randomActivations,
  randomGptqWeight,
} from "../support/gptq-weight.ts";
import { type Implementation, levelsOf, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { type StoredDType, stored } from "../support/stored.ts";
import { expectSameBits } from "../support/tolerance.ts";

// Widths around the 512 sums of a row's squares; outputs for blocks of 16 and of 8 warps; rows for each way of rounding.
const cases: readonly (GptqCase & { readonly norm: StoredDType })[] = [
  { rows: 1, in: 520, out: 136, groupSize: 8, norm: "f32" },
  { rows: 1, in: 1160, out: 72, groupSize: 128, norm: "bf16" },
  { rows: 1, in: 200, out: 168, groupSize: 20, scattered: true, norm: "f16" },
  { rows: 1, bits: 8, in: 2052, out: 52, groupSize: 64, scaleDtype: "f32", norm: "bf16" },
  { rows: 1, in: 16, out: 8, groupSize: 16, norm: "bf16" },
  { rows: 2, in: 512, out: 152, groupSize: 64, norm: "f16" },
  { rows: 7, bits: 8, in: 384, out: 140, groupSize: 96, norm: "bf16" },
  { rows: 8, in: 1400, out: 136, groupSize: 32, norm: "f32" },
  { rows: 9, bits: 8, in: 128, out: 20, groupSize: 128, scattered: true, norm: "bf16" },
  { rows: 33, in: 264, out: 136, groupSize: 128, norm: "f16" },
  { rows: 65, bits: 8, in: 100, out: 132, groupSize: 40, scattered: true, norm: "f32" },
];

async function makeOperands(device: Device, c: (typeof cases)[number]) {
  const shape = { ...plainGptqShape, ...c };
  const random = seeded(c.rows * 131 + shape.in);
  const first = randomGptqWeight(device, shape, random).weight;
  const second = randomGptqWeight(device, shape, random).weight;
  const groupIndex = await first.groupIndex?.read();
  const weight = stored(device, c.norm, normal(shape.in, random)).tensor;
  return {
    random,
    norm: { weight, epsilon: 1e-5 } satisfies RmsNorm,
    weight: ops.packLinear(first, { groupIndex }),
    other: ops.packLinear(second, { groupIndex }),
    bias: stored(device, "bf16", normal(shape.out, random)).tensor,
    residual: randomActivations(device, c.rows, shape.out, random),
  };
}

/** Both products with the norm within and before. */
function products(x: F32, operands: Awaited<ReturnType<typeof makeOperands>>) {
  const { norm, weight, other, bias, residual } = operands;
  const normed = ops.rmsNorm(x, norm.weight, norm.epsilon);
  return (["int16", "int8"] as const).flatMap((activations) => {
    const linear = { bias, residual, activations };
    const gated = { up: { weight, bias }, gate: { weight: other }, activations };
    return [
      {
        label: `quantizedLinear, ${activations}`,
        within: ops.quantizedLinear(x, weight, { ...linear, norm }),
        before: ops.quantizedLinear(normed, weight, linear),
      },
      {
        label: `gatedLinear, ${activations}`,
        within: ops.gatedLinear(x, { ...gated, norm }),
        before: ops.gatedLinear(normed, gated),
      },
    ];
  });
}

describe.each<Implementation>([...levelsOf("packedLinear"), "cuda"])(
  "a norm within on %s",
  (isa) => {
    test.each(cases)("has the bits of the norm before for %j", async (c) => {
      const inputs = c.in ?? 0;
      await withDevice({ isa }, async (device) => {
        const operands = await makeOperands(device, c);
        const wide = randomActivations(device, c.rows, inputs + 5, operands.random);
        const dense = randomActivations(device, c.rows, inputs, operands.random);
        for (const x of [wide.narrow(1, 3, inputs), dense]) {
          for (const { label, within, before } of products(x, operands)) {
            expectSameBits(await within.read(), await before.read(), label);
          }
        }
      });
    });

    test.each([1, 3, 40])("keeps what is not finite in its row (%i rows)", async (rows) => {
      await withDevice({ isa }, async (device) => {
        const operands = await makeOperands(device, { rows, in: 304, out: 136, norm: "bf16" });
        const values = normal(rows * 304, operands.random);
        values[(rows - 1) * 304 + 303] = rows === 3 ? Number.POSITIVE_INFINITY : Number.NaN;
        const x = device.from("f32", values, [rows, 304]);
        for (const { within, before } of products(x, operands)) {
          const y = await within.read();
          expect(y).toEqual(await before.read());
          expect(y.slice(-136).every(Number.isFinite)).toBe(false);
          expect(y.slice(0, -136).every(Number.isFinite)).toBe(true);
        }
      });
    });

    test("is computed for more rows than are normalised at a time, and for none", async () => {
      await withDevice({ isa }, async (device) => {
        const rows = isa === "cuda" ? 40 : 300;
        const c = { rows, in: 4096, out: 8, groupSize: 128, norm: "bf16" } as const;
        const operands = await makeOperands(device, c);
        const { norm, weight } = operands;
        const x = randomActivations(device, rows, 4096, operands.random);
        const before = ops.quantizedLinear(ops.rmsNorm(x, norm.weight, norm.epsilon), weight);
        const within = ops.quantizedLinear(x, weight, { norm });
        expectSameBits(await within.read(), await before.read());
        const none = ops.quantizedLinear(device.zeros("f32", [0, 4096]), weight, { norm });
        expect(await none.read()).toHaveLength(0);
      });
    });
  },
);

test("a norm of another width is refused, at the call", async () => {
  await withDevice({ isa: "scalar" }, async (device) => {
    const { weight } = await makeOperands(device, { rows: 1, norm: "f32" });
    const norm = { weight: device.zeros("f32", [plainGptqShape.in + 1]), epsilon: 1e-6 };
    const x = device.zeros("f32", [1, plainGptqShape.in]);
    const refused = expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" });
    expect(() => ops.quantizedLinear(x, weight, { norm })).toThrow(refused);
    const pair = { up: { weight }, gate: { weight } };
    expect(() => ops.gatedLinear(x, { ...pair, norm })).toThrow(refused);
  });
});
