// AutoGPTQ's results through a Recipe: what a user gets who asks for compat "autogptq", down to the stored tensors.
import { describe, expect, test } from "vitest";
import { type Device, ops } from "../../kernels/index.ts";
import { Hessian } from "../../quantizer/hessian.ts";
import { methods } from "../../quantizer/methods/index.ts";
import { parseRecipe, type Recipe } from "../../quantizer/recipe.ts";
import { type EncodedLinear, encodeLinear } from "../../runtime/model/gptq-format.ts";
import { type GoldenFile, sharedGolden } from "../support/golden.ts";
import { runnableIsas, withDevice } from "../support/kernels.ts";

const reference = sharedGolden("gptq.safetensors");

/** The scheme whose weights and Hessians stand for those of all. */
const inputs = "int4-g128-gptq";

const schemes: Readonly<Record<string, Partial<Recipe>>> = {
  "int4-g128-gptq": {},
  "int8-g128-gptq": { bits: 8 },
  "int4-g128-gptq-asym": { symmetric: false },
  "int4-g128-gptq-desc_act": { order: "act-order" },
  "int4-g128-gptq-desc_act-static_groups": { order: "act-order-static" },
  "int4-g32-gptq": { groupSize: 32 },
  "int4-per-channel-gptq": { groupSize: -1 },
};

const cases = (reference?.names ?? [])
  .filter((name) => name.endsWith("/qweight"))
  .map((name) => {
    const [scheme = "", layer = ""] = name.split("/");
    return { scheme, layer };
  });

type Quantized = { readonly encoded: EncodedLinear; readonly loss: number };

async function quantize(device: Device, layer: string, recipe: Recipe): Promise<Quantized> {
  const file = reference as GoldenFile;
  const name = (tensor: string) => `${inputs}/${layer}/${tensor}`;
  const [out = 0, columns = 0] = file.shape(name("weight"));
  const values = file.f32(name("hessian"));
  const matrix = device.from("f32", values, [columns, columns]);
  const diagonalValues = Float32Array.from({ length: columns }, (_, i) => values[i * columns + i]!);
  const diagonal = device.from("f32", diagonalValues);
  using hessian = new Hessian({ matrix, diagonal, diagonalValues, tokens: 1 });
  const original = device.from("f32", file.f32(name("weight")), [out, columns]);
  using solver = await methods.gptq.prepare(hessian, recipe);
  const result = solver.quantize(ops.copy(original));
  expect(result.fallback).toBeUndefined();
  const encoded = encodeLinear(result, undefined, {
    bits: recipe.bits,
    checkpointFormat: "gptq", // AutoGPTQ stores zero − 1 for asymmetric grids too
    dtype: recipe.dtype,
    groupSize: recipe.groupSize === -1 ? columns : recipe.groupSize,
    castCounts: device.zeros("i32", [2]),
  });
  const rows = await ops.quadraticForm(original, ops.dequantize(encoded.weight), matrix).read();
  return { encoded, loss: rows.reduce((sum, value) => sum + value, 0) };
}

function shareEqual(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let equal = 0;
  for (let i = 0; i < expected.length; i++) equal += actual[i] === expected[i] ? 1 : 0;
  return equal / expected.length;
}

/**
 * Scales more than one step of binary16 apart, in rows where every code agrees: such a step is a tie that the last bit
 * of a sum decides, and a code decided by one moves the later scales of its row.
 */
function unexplainedScales(
  scales: readonly [Uint16Array, Uint16Array],
  codes: readonly [Uint8Array, Uint8Array],
  out: number,
): number {
  const columns = codes[0].length / out;
  const [actual, expected] = scales;
  const isSameRow = (row: number) =>
    codes[0]
      .subarray(row * columns, (row + 1) * columns)
      .every((code, i) => code === codes[1][row * columns + i]);
  return actual.filter((bits, i) => Math.abs(bits - expected[i]!) > 1 && isSameRow(i % out)).length;
}

describe.skipIf(reference === undefined)("a recipe with compat autogptq", () => {
  test("covers every scheme of the reference results", () => {
    expect(new Set(cases.map(({ scheme }) => scheme))).toEqual(new Set(Object.keys(schemes)));
  });

  describe.each(runnableIsas)("on %s", (isa) => {
    test.each(cases)("stores what AutoGPTQ stored for $scheme $layer", async (at) => {
      const file = reference as GoldenFile;
      const name = (tensor: string) => `${at.scheme}/${at.layer}/${tensor}`;
      const recipe = parseRecipe({ compat: "autogptq", ...schemes[at.scheme] });
      await withDevice({ isa }, async (device) => {
        const { encoded, loss } = await quantize(device, at.layer, recipe);
        const { qweight, qzeros, scales, groupIndex } = encoded.weight;
        const { bits } = recipe;
        const expectedWords = device.from(
          "i32",
          file.i32(name("qweight")),
          file.shape(name("qweight")),
        );
        const codes = await ops.unpackWeight(qweight, bits).read();
        const expectedCodes = await ops.unpackWeight(expectedWords, bits).read();
        const scaleBits = new Uint16Array((await scales.read()).buffer);
        const expectedScales = new Uint16Array(file.f32(name("scales")).buffer);
        const expectedLoss = file.f32(name("loss"))[0] ?? Number.NaN;
        const equalCodes = shareEqual(codes, expectedCodes);
        const equalScales = shareEqual(scaleBits, expectedScales);
        console.info(
          `${isa} ${at.scheme} ${at.layer}: codes ${(100 * equalCodes).toFixed(4)} %, ` +
            `scales ${(100 * equalScales).toFixed(3)} %, loss ${(100 * (loss / expectedLoss - 1)).toFixed(4)} % off`,
        );
        expect(scales.dtype).toBe("f16");
        expect([qweight, qzeros, scales].map(({ shape }) => shape)).toEqual(
          ["qweight", "qzeros", "scales"].map((tensor) => file.shape(name(tensor))),
        );
        expect(await groupIndex?.read()).toEqual(file.i32(name("g_idx")));
        expect(await qzeros.read()).toEqual(file.i32(name("qzeros")));
        expect(equalCodes).toBeGreaterThanOrEqual(0.999);
        expect(equalScales).toBeGreaterThanOrEqual(0.999);
        const both = [scaleBits, expectedScales] as const;
        expect(unexplainedScales(both, [codes, expectedCodes], scales.size(1))).toBe(0);
        expect(Math.abs(loss / expectedLoss - 1)).toBeLessThan(1e-3);
      });
    });
  });
});
