import { describe, expect, test } from "vitest";
import { type Device, type F32, ops, type PackedLinear } from "../../kernels/index.ts";
import {
  type GptqCase,
  type GptqShape,
  plainGptqShape,
  randomActivations,
  randomGptqWeight,
} from "../support/gptq-weight.ts";
import { type Implementation, levelsOf, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { stored } from "../support/stored.ts";
import { expectSameBits } from "../support/tolerance.ts";

// Rows around tiles of 8 and what counts as few; outputs that fill no block of 16 or 32, and more of those than an emulated
// GPU has multiprocessors; blocks of 8 to 128 inputs, more units of them than warps.
const cases: readonly GptqCase[] = [
  { rows: 1, in: 1160, out: 136, groupSize: 128 },
  { rows: 1, in: 2304, out: 72, groupSize: 128, scaleDtype: "bf16" },
  { rows: 1, in: 264, out: 24, groupSize: 8, zeroOffset: 0 },
  { rows: 1, in: 200, out: 168, groupSize: 20, scattered: true },
  { rows: 1, bits: 8, in: 1160, out: 52, groupSize: 64, scaleDtype: "f32" },
  { rows: 2, in: 640, out: 152, groupSize: 64 },
  { rows: 7, in: 256, out: 40, groupSize: 16, scattered: true, scaleDtype: "bf16" },
  { rows: 7, bits: 8, in: 384, out: 140, groupSize: 96 },
  { rows: 8, in: 1400, out: 136, groupSize: 32 },
  { rows: 8, bits: 3, in: 96, out: 64, groupSize: 12, scattered: true },
  { rows: 9, bits: 8, in: 128, out: 20, groupSize: 128, scattered: true },
  { rows: 9, in: 512, out: 264, groupSize: 256, scaleDtype: "f32" },
  { rows: 33, in: 264, out: 136, groupSize: 128 },
  { rows: 65, bits: 8, in: 100, out: 132, groupSize: 40, scattered: true },
];

type Pair = { readonly up: PackedLinear; readonly gate: PackedLinear };

/** Two linears over the same inputs; one has its zeros written out and a bias, where the shape's rows are odd. */
async function makePair(device: Device, c: GptqCase, random: () => number): Promise<Pair> {
  const shape: GptqShape = { ...plainGptqShape, ...c };
  const first = randomGptqWeight(device, shape, random).weight;
  const second = randomGptqWeight(device, shape, random).weight;
  const groupIndex = await first.groupIndex?.read();
  const bias = stored(device, shape.scaleDtype, normal(shape.out, random)).tensor;
  const gateBias = stored(device, "f32", normal(shape.out, random, { scale: 4 })).tensor;
  return {
    up: {
      weight: ops.packLinear(first, { groupIndex }),
      bias: c.rows % 2 === 1 ? bias : undefined,
    },
    gate: { weight: ops.packLinear(second, { groupIndex, zero: 2 }), bias: gateBias },
  };
}

const activationDtypes = ["int16", "int8"] as const;
type Activations = { readonly activations: (typeof activationDtypes)[number] };

function composed(x: F32, { up, gate }: Pair, { activations }: Activations): F32 {
  using y = ops.quantizedLinear(x, up.weight, { bias: up.bias, activations });
  using gates = ops.quantizedLinear(x, gate.weight, { bias: gate.bias, activations });
  return ops.swiglu(y, gates);
}

describe.each<Implementation>([...levelsOf("packedLinear"), "cuda"])("gatedLinear on %s", (isa) => {
  test.each(cases)("has the bits of two products and swiglu for %j", async (c) => {
    const inputs = c.in ?? 0;
    await withDevice({ isa }, async (device) => {
      const random = seeded(c.rows * 131 + inputs);
      const pair = await makePair(device, c, random);
      const wide = randomActivations(device, c.rows, inputs + 5, random);
      for (const x of [
        wide.narrow(1, 3, inputs),
        randomActivations(device, c.rows, inputs, random),
      ]) {
        for (const activations of activationDtypes) {
          const y = await ops.gatedLinear(x, { ...pair, activations }).read();
          expectSameBits(y, await composed(x, pair, { activations }).read(), activations);
          expect(y.some((value) => value !== 0)).toBe(true);
        }
      }
    });
  });

  test.each([1, 3, 40])("keeps NaN and infinity in their rows (%i rows)", async (rows) => {
    await withDevice({ isa }, async (device) => {
      const random = seeded(rows);
      const c: GptqCase = { rows, in: 304, out: 136, groupSize: 64 };
      const pair = await makePair(device, c, random);
      const values = normal(rows * 304, random);
      values[(rows - 1) * 304 + 77] = Number.NaN;
      values[5] = Number.POSITIVE_INFINITY;
      const x = device.from("f32", values, [rows, 304]);
      const y = await ops.gatedLinear(x, { ...pair }).read();
      expect(y).toEqual(await composed(x, pair, { activations: "int16" }).read());
      expect(y.slice(0, 136).some(Number.isFinite)).toBe(false);
      expect(y.slice(136, -136).every(Number.isFinite)).toBe(true);
    });
  });

  test("reads packed weights at any address, accepts no rows", async () => {
    await withDevice({ isa }, async (device) => {
      const random = seeded(4);
      const pair = await makePair(device, { rows: 1, in: 136, out: 72, groupSize: 8 }, random);
      const words = device.from("i32", Int32Array.of(0, ...(await pair.gate.weight.words.read())));
      const elsewhere = words.narrow(0, 1, words.size(0) - 1).reshape(pair.gate.weight.words.shape);
      const gate = { ...pair.gate, weight: { ...pair.gate.weight, words: elsewhere } };
      for (const rows of [1, 5, 40]) {
        const x = randomActivations(device, rows, 136, random);
        const y = await ops.gatedLinear(x, { ...pair, gate }).read();
        expectSameBits(y, await ops.gatedLinear(x, pair).read(), `${rows} rows`);
      }
      expect(await ops.gatedLinear(device.zeros("f32", [0, 136]), pair).read()).toHaveLength(0);
    });
  });
});

test("gatedLinear refuses weights that do not fit one another, at the call", async () => {
  await withDevice({ isa: "scalar" }, async (device) => {
    const shape: GptqCase = { rows: 1, in: 64, out: 16, groupSize: 32 };
    const { up, gate } = await makePair(device, shape, seeded(1));
    const x = device.zeros("f32", [2, 64]);
    const others: readonly Partial<GptqCase>[] = [
      { in: 32 },
      { out: 32 },
      // As many blocks of 16.
      { out: 8 },
      { bits: 8 },
      { groupSize: 16 },
      { scattered: true },
    ];
    for (const other of others) {
      const { gate: different } = await makePair(device, { ...shape, ...other }, seeded(2));
      expect(() => ops.gatedLinear(x, { up, gate: different }), JSON.stringify(other)).toThrow(
        expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" }),
      );
    }
    const long = { ...gate, bias: device.zeros("f32", [17]) };
    expect(() => ops.gatedLinear(x, { up, gate: long })).toThrow(
      expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" }),
    );
    expect(() => ops.gatedLinear(device.zeros("f32", [2, 65]), { up, gate })).toThrow(
      expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" }),
    );
  });
});
