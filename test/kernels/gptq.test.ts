import { describe, expect, test } from "vitest";
import { type GridOptions, ops, type RangeSource } from "../../kernels/index.ts";
import {
  f16ToNumber,
  type Implementation,
  implementations,
  numberToF16,
  withDevice,
} from "../support/kernels.ts";
import { correlatedLayer, quantizeOn, smallGroups, symmetricGrid } from "../support/layers.ts";
import {
  factorTolerance,
  type LayerInput,
  type LayerOptions,
  type QuantizedLayer,
} from "../support/solver.ts";
import { dotTolerance, expectSameBits } from "../support/tolerance.ts";

type Floats = Float32Array<ArrayBuffer>;

function expectSameLayer(actual: QuantizedLayer, expected: QuantizedLayer, label: string): void {
  expect(actual.codes, `${label}: codes`).toEqual(expected.codes);
  expect(actual.zeros, `${label}: zeros`).toEqual(expected.zeros);
  expectSameBits(actual.scales, expected.scales, `${label}: scales`);
  expectSameBits(actual.rounded, expected.rounded, `${label}: rounded`);
  expectSameBits(actual.error, expected.error, `${label}: error`);
}

function rowsOf(layer: LayerInput, first: number, rows: number): LayerInput {
  const weight = layer.weight.slice(first * layer.in, (first + rows) * layer.in);
  return { ...layer, out: rows, weight };
}

/**
 * One row by the definition, in double, given the codes that were chosen: corrections first to the block, at its
 * end to the rest.
 *
 * @returns for each column the weight as it was when reached, its scale, and the sum of the sizes of its corrections
 */
function definition(row: Floats, codes: Uint8Array, factor: Floats, options: LayerOptions) {
  const n = row.length;
  const current = Float64Array.from(row);
  const moved = new Float64Array(n);
  const reached = new Float64Array(n);
  const scales = new Float64Array(n);
  for (let begin = 0; begin < n; begin += options.block) {
    const source = { given: Float64Array.from(row), updated: current, stale: current.slice() };
    for (let i = begin; i < Math.min(n, begin + options.block); i++) {
      const first = i - (i % options.groupSize);
      const range = source[options.range].slice(first, first + options.groupSize);
      if (i === first) scales.fill((2 * Math.max(...range.map(Math.abs))) / 15, i);
      reached[i] = current[i] ?? 0;
      const rounded = (scales[i] ?? 0) * ((codes[i] ?? 0) - 8);
      const error = ((reached[i] ?? 0) - rounded) / (factor[i * (n + 1)] ?? 0);
      for (let j = i; j < n; j++) {
        const correction = error * (factor[i * n + j] ?? 0);
        current[j] = (current[j] ?? 0) - correction;
        moved[j] = (moved[j] ?? 0) + Math.abs(correction);
      }
    }
  }
  return { reached, scales, moved };
}

const ranges: readonly RangeSource[] = ["given", "updated", "stale"];

describe("gptqBlock", () => {
  const cases = implementations.flatMap((isa) => ranges.map((range) => ({ isa, range })));

  test.each(cases)(
    "rounds as the definition does, up to near-ties: $range range on $isa",
    async ({ isa, range }) => {
      const layer = correlatedLayer(17, 45, 4);
      const options = { ...smallGroups, range };
      const actual = await quantizeOn(isa, layer, options);
      const relative = factorTolerance(layer.hessian, layer.in, options.damping);
      let differing = 0;
      for (let row = 0; row < layer.out; row++) {
        const weights = rowsOf(layer, row, 1).weight;
        const codes = actual.codes.subarray(row * layer.in, (row + 1) * layer.in);
        const expected = definition(weights, codes, actual.factor, options);
        for (let i = 0; i < layer.in; i++) {
          const scale = expected.scales[i] ?? 0;
          const ours = actual.scales[row * 6 + Math.floor(i / 8)] ?? 0;
          expect(Math.abs(ours / scale - 1), `scale at ${row}, ${i}`).toBeLessThan(relative);
          const quotient = (expected.reached[i] ?? 0) / scale;
          if (codes[i] === Math.min(15, Math.max(0, Math.round(quotient) + 8))) continue;
          const moved = (expected.moved[i] ?? 0) / scale;
          const allowed = dotTolerance(i, 1, Math.abs(quotient) + moved);
          const fromTie = Math.abs(quotient - Math.floor(quotient) - 0.5);
          expect(fromTie, `row ${row}, column ${i}`).toBeLessThan(allowed);
          // The largest weight of a symmetric group lies at -7.5 by construction.
          if (quotient > -7.4) differing++;
        }
      }
      expect(differing).toBeLessThan(3);
    },
  );

  const shapes = [
    [0, 16],
    [1, 1],
    [2, 9],
    [7, 16],
    [8, 17],
    [9, 31],
    [15, 33],
    [16, 40],
    [17, 64],
    [3, 128],
    [5, 150],
  ] as const;
  const grids: readonly GridOptions[] = [
    symmetricGrid,
    { ...symmetricGrid, bits: 8, scaleDtype: "f16" },
    { ...symmetricGrid, bits: 3, symmetric: false },
    { ...symmetricGrid, bits: 2, keepsPositiveRange: true, scaleDtype: "bf16" },
    { ...symmetricGrid, bits: 3, scaleDtype: "f16", minimizesError: true },
    { ...symmetricGrid, isSigned: true, scaleDtype: "f16" },
    { ...symmetricGrid, isSigned: true, scaleDtype: "bf16", minimizesError: true },
    { ...symmetricGrid, symmetric: false, minimizesError: true },
  ];

  test.each(shapes)("gives the same bits on every instruction set: %i × %i", async (out, n) => {
    const layer = correlatedLayer(out, n, n);
    const { factor } = await quantizeOn("scalar", layer, smallGroups);
    for (const range of ranges) {
      for (const options of grids) {
        const runs = implementations.map((isa) =>
          block(isa, layer, factor, { grid: options, range }),
        );
        const [expected, ...others] = await Promise.all(runs);
        for (const other of others) expect(other).toEqual(expected);
      }
    }
  });

  async function block(
    isa: Implementation,
    layer: LayerInput,
    factor: Floats,
    options: { grid: GridOptions; range: RangeSource },
  ) {
    const { out, in: n } = layer;
    // Groups of 40 begin and end anywhere among the columns that are held together.
    const groupSize = n > 64 ? 40 : 8;
    return await withDevice({ isa }, async (device) => {
      const w = device.from("f32", layer.weight, [out, n]);
      const columnGroup = device.from(
        "i32",
        Int32Array.from({ length: n }, (_, i) => Math.floor(i / groupSize)),
      );
      const codes = device.zeros("u8", [out, n]);
      const importance = device.from("f32", factor.slice(0, n).map(Math.abs));
      const { scales, zeros } = ops.findGrid(w, options.grid, groupSize, importance);
      const u = device.from("f32", factor, [n, n]);
      const weight = { w, columnGroup, scales, zeros, codes };
      const error = ops.gptqBlock(weight, u, { begin: 0, end: n }, { ...options, importance });
      const results = [w, scales, error].map(async (x) => new Uint32Array((await x.read()).buffer));
      return [await codes.read(), await zeros.read(), ...(await Promise.all(results))];
    });
  }

  test.each(implementations)("depends on neither threads nor other rows on %s", async (isa) => {
    const layer = correlatedLayer(37, 48, 8);
    const expected = await quantizeOn(isa, layer, smallGroups, 1);
    expectSameLayer(await quantizeOn(isa, layer, smallGroups, 3), expected, "3 threads");
    for (const [first, rows] of [
      [0, 1],
      [5, 3],
      [20, 17],
    ] as const) {
      const alone = await quantizeOn(isa, rowsOf(layer, first, rows), smallGroups);
      const cut = <A extends Floats | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(all: A) =>
        all.slice((first * all.length) / 37, ((first + rows) * all.length) / 37) as A;
      const part = {
        ...expected,
        codes: cut(expected.codes),
        zeros: cut(expected.zeros),
        scales: cut(expected.scales),
        rounded: cut(expected.rounded),
        error: cut(expected.error),
      };
      expectSameLayer(alone, part, `rows ${first} + ${rows}`);
    }
  });

  test.each(implementations)("leaves columns outside its block alone on %s", async (isa) => {
    const [out, n] = [11, 40];
    const layer = correlatedLayer(out, n, 2);
    await withDevice({ isa }, async (device) => {
      const w = device.from("f32", layer.weight, [out, n]);
      const codes = device.from("u8", new Uint8Array(out * n).fill(99), [out, n]);
      const scales = device.from("f32", new Float32Array(out * 5).fill(-7), [out, 5]);
      const zeros = device.from("i32", new Int32Array(out * 5).fill(-7), [out, 5]);
      const columnGroup = device.from(
        "i32",
        Int32Array.from({ length: n }, (_, i) => i >> 3),
      );
      const { factor } = ops.inverseCholesky(device.from("f32", layer.hessian, [n, n]), 0.01);
      const weight = { w, columnGroup, scales, zeros, codes };
      ops.gptqBlock(weight, factor, { begin: 16, end: 32 }, smallGroups);
      const inside = (i: number, width: number, begin: number, end: number) =>
        i % width >= begin && i % width < end;
      const [after, written] = [await w.read(), await codes.read()];
      const [s, z] = [await scales.read(), await zeros.read()];
      for (let i = 0; i < out * n; i++) {
        if (inside(i, n, 16, 32)) expect(written[i]).toBeLessThanOrEqual(15);
        else expect([after[i], written[i]]).toEqual([layer.weight[i], 99]);
      }
      s.forEach((scale, i) => {
        expect([scale === -7, z[i] === -7]).toEqual(
          inside(i, 5, 2, 4) ? [false, false] : [true, true],
        );
      });
    });
  });

  test.each(cases)("keeps a NaN to its row, where it shows: $range on $isa", async (at) => {
    const layer = correlatedLayer(19, 32, 6);
    const options = { ...smallGroups, range: at.range };
    const clean = await quantizeOn(at.isa, layer, options);
    const broken = { ...layer, weight: layer.weight.slice() };
    broken.weight[4 * 32 + 10] = Number.NaN;
    broken.weight[18 * 32 + 1] = Number.POSITIVE_INFINITY;
    const actual = await quantizeOn(at.isa, broken, options);
    expect(Math.max(...actual.codes)).toBeLessThanOrEqual(15);
    expect(actual.rounded[4 * 32 + 10]).toBeNaN();
    expect(actual.rounded[18 * 32 + 1]).toBeNaN();
    for (let row = 0; row < 18; row++) {
      if (row === 4) continue;
      const cut = (values: Floats) => values.slice(row * 32, (row + 1) * 32);
      expectSameBits(cut(actual.rounded), cut(clean.rounded), `row ${row}`);
    }
  });

  test.each(implementations)("uses scales as they will be stored on %s", async (isa) => {
    const layer = correlatedLayer(5, 32, 11);
    const options = { ...smallGroups, grid: { ...symmetricGrid, scaleDtype: "f16" as const } };
    const { scales, rounded, codes } = await quantizeOn(isa, layer, options);
    for (const scale of scales) expect(f16ToNumber(numberToF16(scale))).toBe(scale);
    const expected =
      codes.length === 0
        ? []
        : Array.from(codes, (code, i) =>
            Math.fround((scales[Math.floor(i / 32) * 4 + ((i % 32) >> 3)] ?? 0) * (code - 8)),
          );
    expect(Array.from(rounded, (x) => x + 0)).toEqual(expected.map((x) => x + 0));
  });

  test.each(implementations)("refuses a column that belongs to no group on %s", async (isa) => {
    // At most 128 columns, and more.
    for (const n of [8, 160]) {
      const run = withDevice({ isa }, async (device) => {
        const weight = {
          w: device.zeros("f32", [2, n]),
          columnGroup: device.from(
            "i32",
            Int32Array.from({ length: n }, (_, i) => (i === n - 3 ? 1 : 0)),
          ),
          scales: device.zeros("f32", [2, 1]),
          zeros: device.zeros("i32", [2, 1]),
          codes: device.zeros("u8", [2, n]),
        };
        ops.gptqBlock(weight, device.zeros("f32", [n, n]), { begin: 0, end: n }, smallGroups);
      });
      await expect(run).rejects.toThrow(
        isa === "cuda"
          ? `gptqBlock: columnGroup[${n - 3}] is 1; expected 0 to 0`
          : `gptqBlock: column ${n - 3} belongs to group 1 of 1`,
      );
    }
  });

  test("refuses blocks, factors and error matrices that do not fit", async () => {
    await withDevice({ isa: "scalar" }, async (device) => {
      const weight = {
        w: device.zeros("f32", [2, 8]),
        columnGroup: device.zeros("i32", [8]),
        scales: device.zeros("f32", [2, 1]),
        zeros: device.zeros("i32", [2, 1]),
        codes: device.zeros("u8", [2, 8]),
      };
      const run = (factor: number, begin: number, end: number) => () =>
        ops.gptqBlock(weight, device.zeros("f32", [factor, factor]), { begin, end }, smallGroups);
      expect(run(7, 0, 8)).toThrow(expect.objectContaining({ code: "KERNEL_SHAPE" }));
      expect(run(8, 4, 9)).toThrow(expect.objectContaining({ code: "KERNEL_VALUE" }));
      expect(run(8, -1, 4)).toThrow(expect.objectContaining({ name: "KernelError" }));
    });
  });
});
