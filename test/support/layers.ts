// Small layers for tests of GPTQ, and a short way to quantize them.
import type { GridOptions } from "../../kernels/index.ts";
import { type Implementation, withDevice } from "./kernels.ts";
import { normal, seeded } from "./random.ts";
import {
  type LayerInput,
  type LayerOptions,
  type QuantizedLayer,
  quantizeLayer,
} from "./solver.ts";

export const symmetricGrid: GridOptions = {
  bits: 4,
  symmetric: true,
  keepsPositiveRange: false,
  isSigned: false,
  scaleDtype: "f32",
  minimizesError: false,
};
/** Groups of 8 in blocks of 16, found as the corrected weights stand. */
export const smallGroups: LayerOptions = {
  grid: symmetricGrid,
  groupSize: 8,
  range: "updated",
  descending: false,
  damping: 0.01,
  block: 16,
};

/** A layer with heavy-tailed weights whose inputs are strongly correlated, so that corrections matter. */
export function correlatedLayer(out: number, n: number, seed: number): LayerInput {
  const random = seeded(seed);
  const weight = normal(out * n, random, { scale: 0.02, heavy: true });
  const rows = 2 * n;
  const x = normal(rows * n, random);
  for (let i = 0; i < x.length; i++) {
    if (i % n > 0) x[i] = 0.5 * (x[i] ?? 0) + 0.8 * (x[i - 1] ?? 0);
  }
  const hessian = new Float32Array(n * n);
  for (let i = 0; i < n * n; i++) {
    let sum = 0;
    for (let row = 0; row < rows; row++) {
      sum += (x[row * n + (i % n)] ?? 0) * (x[row * n + Math.floor(i / n)] ?? 0);
    }
    hessian[i] = sum / rows;
  }
  return { out, in: n, weight, hessian };
}

export function quantizeOn(
  isa: Implementation,
  layer: LayerInput,
  options: LayerOptions,
  threads = 2,
): Promise<QuantizedLayer> {
  return withDevice({ isa, threads }, (device) => quantizeLayer(device, layer, options));
}
