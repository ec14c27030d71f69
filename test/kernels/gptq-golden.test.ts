// AutoGPTQ's results, column by column: the same Hessian and weight, its order of operations, its quirks.
import { describe, expect, test } from "vitest";
import { type Device, ops } from "../../kernels/index.ts";
import { type GoldenFile, sharedGolden } from "../support/golden.ts";
import {
  f16ToNumber,
  type Implementation,
  implementations,
  numberToF16,
  withDevice,
} from "../support/kernels.ts";
import {
  factorTolerance,
  type LayerInput,
  type LayerOptions,
  permuteColumns,
  type QuantizedLayer,
  quantizeLayer,
} from "../support/solver.ts";
import { dotTolerance } from "../support/tolerance.ts";

const reference = sharedGolden("gptq.safetensors");
const inputs = "int4-g128-gptq";

type Case = { readonly scheme: string; readonly layer: string; readonly isa: Implementation };

function casesOf(file: GoldenFile): Case[] {
  return file.names
    .filter((name) => name.endsWith("/qweight"))
    .flatMap((name) => {
      const [scheme = "", layer = ""] = name.split("/");
      return implementations.map((isa) => ({ scheme, layer, isa }));
    });
}

function optionsOf(scheme: string, columns: number): LayerOptions {
  const bits = Number(/^int(\d)/.exec(scheme)?.[1]);
  const group = /-g(\d+)-/.exec(scheme)?.[1];
  const given = group === undefined || scheme.endsWith("-static_groups");
  return {
    grid: {
      bits,
      symmetric: !scheme.endsWith("-asym"),
      keepsPositiveRange: true,
      isSigned: false,
      scaleDtype: "f32",
      minimizesError: false,
    },
    groupSize: group === undefined ? columns : Number(group),
    range: given ? "given" : "stale",
    descending: scheme.includes("-desc_act"),
    damping: 0.01,
    block: 128,
  };
}

function layerOf(file: GoldenFile, layer: string): LayerInput {
  const name = `${inputs}/${layer}/weight`;
  const [out = 0, columns = 0] = file.shape(name);
  return {
    out,
    in: columns,
    weight: file.f32(name),
    hessian: file.f32(`${inputs}/${layer}/hessian`),
  };
}

type Golden = {
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly zeros: Int32Array<ArrayBuffer>;
  readonly scaleBits: Uint16Array;
  readonly groupIndex: Int32Array<ArrayBuffer>;
  readonly loss: number;
};

async function goldenOf(device: Device, file: GoldenFile, at: Case, bits: 4 | 8): Promise<Golden> {
  const name = (tensor: string) => `${at.scheme}/${at.layer}/${tensor}`;
  const qweight = device.from("i32", file.i32(name("qweight")), file.shape(name("qweight")));
  const qzeros = device.from("i32", file.i32(name("qzeros")), file.shape(name("qzeros")));
  const [groups = 0, out = 0] = file.shape(name("scales"));
  const stored = new Uint16Array(file.f32(name("scales")).buffer);
  // [groups, out] to [out, groups], as the operations have them.
  const scaleBits = stored.map((_, i) => stored[(i % groups) * out + Math.floor(i / groups)] ?? 0);
  return {
    codes: await ops.unpackWeight(qweight, bits).read(),
    zeros: await ops.unpackZeros(qzeros, bits, 1).read(),
    scaleBits,
    groupIndex: file.i32(name("g_idx")),
    loss: file.f32(name("loss"))[0] ?? Number.NaN,
  };
}

type Comparison = {
  equalCodes: number;
  equalScales: number;
  /** What disagrees without rounding errors being able to explain it. */
  unexplained: string[];
};

/** Both in processing order; a row is compared up to the first code that differs. */
function compare(
  layer: LayerInput,
  ours: QuantizedLayer,
  golden: Golden,
  options: LayerOptions,
): Comparison {
  const n = layer.in;
  const goldenCodes = permuteColumns(golden.codes, ours.order);
  const groups = ours.scales.length / layer.out;
  const relative = factorTolerance(layer.hessian, n, options.damping);
  const result: Comparison = { equalCodes: 0, equalScales: 0, unexplained: [] };
  const firstColumn = (group: number) =>
    options.range === "given" ? 0 : ours.columnGroup.indexOf(group);
  for (let row = 0; row < layer.out; row++) {
    const differs = (i: number) => ours.codes[row * n + i] !== goldenCodes[row * n + i];
    let first = 0;
    while (first < n && !differs(first)) first++;
    for (let i = 0; i < n; i++) result.equalCodes += differs(i) ? 0 : 1;
    if (first < n && !isNearTie(ours, row, first, relative)) {
      result.unexplained.push(`code of row ${row}, column ${first}`);
    }
    for (let group = 0; group < groups; group++) {
      const at = row * groups + group;
      const scale = ours.scales[at] ?? 0;
      const expected = golden.scaleBits[at] ?? 0;
      if (numberToF16(scale) === expected) result.equalScales++;
      else if (firstColumn(group) < first && !isNearHalfStep(scale, expected, n)) {
        result.unexplained.push(`scale ${scale} of row ${row}, group ${group}`);
      }
    }
  }
  return result;
}

/**
 * Whether the weight's quotient lay so near to a tie when its column was reached that rounding errors decide:
 * those of the factor, in every correction it received, and those of adding them up.
 */
function isNearTie(ours: QuantizedLayer, row: number, column: number, relative: number): boolean {
  const n = ours.order.length;
  const groups = (ours.scales.length * n) / ours.codes.length;
  const scale = ours.scales[row * groups + (ours.columnGroup[column] ?? 0)] ?? 0;
  const correction = (i: number, j: number) =>
    (ours.error[row * n + i] ?? 0) * (ours.factor[i * n + j] ?? 0);
  let corrections = 0;
  for (let i = 0; i < column; i++) corrections += Math.abs(correction(i, column));
  const beyond = Math.abs(Math.abs(correction(column, column)) - 0.5 * scale);
  const weight = Math.abs(ours.rounded[row * n + column] ?? 0) + scale;
  return beyond <= relative * corrections + dotTolerance(column, 1, weight);
}

/** Whether a scale lies within rounding errors of halfway between its binary16 and the expected one. */
function isNearHalfStep(scale: number, expectedBits: number, n: number): boolean {
  const bits = numberToF16(scale);
  const half = (f16ToNumber(bits) + f16ToNumber(expectedBits)) / 2;
  return Math.abs(bits - expectedBits) === 1 && Math.abs(scale - half) <= dotTolerance(n, 1, scale);
}

/** tr((Ŵ − W) H (Ŵ − W)ᵀ) with Ŵ from the scales as a file stores them. */
async function lossOf(device: Device, layer: LayerInput, ours: QuantizedLayer): Promise<number> {
  const n = layer.in;
  const groups = ours.scales.length / layer.out;
  const stored = new Float32Array(layer.weight.length);
  for (let i = 0; i < stored.length; i++) {
    const at = Math.floor(i / n) * groups + (ours.columnGroup[i % n] ?? 0);
    const scale = f16ToNumber(numberToF16(ours.scales[at] ?? 0));
    stored[i - (i % n) + (ours.order[i % n] ?? 0)] =
      scale * ((ours.codes[i] ?? 0) - (ours.zeros[at] ?? 0));
  }
  const rows = await ops
    .quadraticForm(
      device.from("f32", stored, [layer.out, n]),
      device.from("f32", layer.weight, [layer.out, n]),
      device.from("f32", layer.hessian, [n, n]),
    )
    .read();
  return rows.reduce((sum, value) => sum + value, 0);
}

describe.skipIf(reference === undefined)("GPTQ in AutoGPTQ's order", () => {
  const cases = reference === undefined ? [] : casesOf(reference);

  test.each(cases)("gives AutoGPTQ's codes and loss for $scheme $layer on $isa", async (at) => {
    const file = reference as GoldenFile;
    await withDevice({ isa: at.isa }, async (device) => {
      const layer = layerOf(file, at.layer);
      const options = optionsOf(at.scheme, layer.in);
      const ours = await quantizeLayer(device, layer, options);
      const golden = await goldenOf(device, file, at, options.grid.bits === 8 ? 8 : 4);
      const result = compare(layer, ours, golden, options);
      const loss = await lossOf(device, layer, ours);
      expect(ours.status).toBe(0);
      const groupIndex = new Int32Array(layer.in);
      ours.order.forEach((column, i) => {
        groupIndex[column] = ours.columnGroup[i] ?? -1;
      });
      expect(groupIndex).toEqual(golden.groupIndex);
      expect(ours.zeros).toEqual(golden.zeros);
      expect(result.unexplained).toEqual([]);
      expect(result.equalCodes / ours.codes.length).toBeGreaterThanOrEqual(0.999);
      expect(result.equalScales / ours.scales.length).toBeGreaterThanOrEqual(0.999);
      expect(Math.abs(loss / golden.loss - 1)).toBeLessThan(1e-3);
    });
  });
});
