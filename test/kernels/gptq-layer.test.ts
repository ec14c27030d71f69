import { describe, expect, test } from "vitest";
import { ops, type RangeSource } from "../../kernels/index.ts";
import { implementations, runnableIsas, withDevice } from "../support/kernels.ts";
import { correlatedLayer, quantizeOn, smallGroups, symmetricGrid } from "../support/layers.ts";
import { factorTolerance, type LayerInput, type LayerOptions } from "../support/solver.ts";
import { expectSameBits } from "../support/tolerance.ts";

type Floats = Float32Array<ArrayBuffer>;

const ranges: readonly RangeSource[] = ["given", "updated", "stale"];

describe("GPTQ on a layer", () => {
  test.each(implementations)(
    "with an identity Hessian equals rounding to nearest on %s",
    async (isa) => {
      const [out, n] = [13, 40];
      const hessian = new Float32Array(n * n).map((_, i) => (i % (n + 1) === 0 ? 1 : 0));
      const layer = { ...correlatedLayer(out, n, 1), hessian };
      for (const range of ranges) {
        const gptq = await quantizeOn(isa, layer, { ...smallGroups, range, damping: 0 });
        await withDevice({ isa }, async (device) => {
          const w = device.from("f32", layer.weight, [out, n]);
          const columnGroup = device.from("i32", gptq.columnGroup);
          const codes = device.empty("u8", [out, n]);
          const { scales, zeros } = ops.findGrid(w, symmetricGrid, 8);
          ops.roundToGrid({ w, columnGroup, scales, zeros, codes }, 4);
          expect(gptq.codes).toEqual(await codes.read());
          expectSameBits(gptq.scales, await scales.read());
          expectSameBits(gptq.rounded, await w.read());
        });
      }
    },
  );

  /** Σ d·H·dᵀ over the rows, H as given or damped. */
  function losses(layer: LayerInput, rounded: Floats, damping: number): Float64Array {
    const n = layer.in;
    let trace = 0;
    for (let i = 0; i < n; i++) trace += layer.hessian[i * (n + 1)] ?? 0;
    const d = rounded.map((value, i) => value - (layer.weight[i] ?? 0));
    return Float64Array.from({ length: layer.out }, (_, row) => {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          const h = (layer.hessian[i * n + j] ?? 0) + (i === j ? (damping * trace) / n : 0);
          sum += (d[row * n + i] ?? 0) * h * (d[row * n + j] ?? 0);
        }
      }
      return sum;
    });
  }

  test("loses less than rounding to nearest in the mean of 50 layers", async () => {
    const isa = runnableIsas.at(-1) ?? "scalar";
    const total = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0);
    const ratios: number[] = [];
    for (let seed = 0; seed < 50; seed++) {
      const layer = correlatedLayer(8, 32, seed);
      const identity = layer.hessian.map((_, i) => (i % 33 === 0 ? 1 : 0));
      const gptq = await quantizeOn(isa, layer, smallGroups);
      const nearest = await quantizeOn(
        isa,
        { ...layer, hessian: identity },
        { ...smallGroups, damping: 0 },
      );
      ratios.push(total(losses(layer, gptq.rounded, 0)) / total(losses(layer, nearest.rounded, 0)));
    }
    expect(ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length).toBeLessThan(0.9);
  });

  test.each(implementations)(
    "reports errors whose squares add up to the damped quadratic loss on %s",
    async (isa) => {
      const layer = correlatedLayer(9, 60, 3);
      for (const descending of [false, true]) {
        const options: LayerOptions = { ...smallGroups, range: "given", descending, groupSize: 20 };
        const result = await quantizeOn(isa, layer, options);
        const inOrder = new Float32Array(result.rounded.length);
        result.rounded.forEach((value, i) => {
          inOrder[i - (i % 60) + (result.order[i % 60] ?? 0)] = value;
        });
        const expected = losses(layer, inOrder, options.damping);
        const relative = 4 * factorTolerance(layer.hessian, 60, options.damping);
        expected.forEach((loss, row) => {
          const errors = result.error.slice(row * 60, (row + 1) * 60);
          const sum = errors.reduce((total, e) => total + e * e, 0);
          expect(Math.abs(sum / loss - 1), `row ${row}`).toBeLessThan(relative);
        });
      }
    },
  );
});
