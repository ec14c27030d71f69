import { type Device, type GridOptions, ops, type RoundedWeight } from "../../kernels/index.ts";
import { normal, seeded } from "./random.ts";

type Floats = Float32Array<ArrayBuffer>;
export type Problem = {
  readonly out: number;
  readonly n: number;
  readonly groupSize: number;
  readonly bits: number;
  readonly target: Floats;
  readonly hessian: Floats;
};

/** A weight whose inputs depend on each other, as a model's do. */
export function problem(out: number, n: number, groupSize: number, bits = 4): Problem {
  const random = seeded(out * 1000 + n);
  const inputs = normal(3 * n * n, random);
  const common = normal(3 * n, random);
  const x = inputs.map((value, i) => value + 0.7 * (common[Math.floor(i / n)] ?? 0));
  const hessian = new Float32Array(n * n);
  for (let row = 0; row < 3 * n; row++) {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const at = i * n + j;
        hessian[at] = (hessian[at] ?? 0) + (x[row * n + i]! * x[row * n + j]!) / (3 * n);
      }
    }
  }
  const target = normal(out * n, random, { scale: 0.02, heavy: true });
  return { out, n, groupSize, bits, target, hessian };
}

/** Rounded to nearest, on signed grids. */
export function rounded(
  device: Device,
  { out, n, groupSize, bits, target }: Problem,
): RoundedWeight {
  const w = device.from("f32", target, [out, n]);
  const grid: GridOptions = {
    ...{ bits, symmetric: true, keepsPositiveRange: false, isSigned: true },
    ...{ scaleDtype: "f16", minimizesError: false },
  };
  const { scales, zeros } = ops.findGrid(w, grid, groupSize);
  const groups = Int32Array.from({ length: n }, (_, i) => Math.floor(i / groupSize));
  const weight = {
    ...{ w, scales, zeros, columnGroup: device.from("i32", groups) },
    codes: device.empty("u8", [out, n]),
  };
  ops.roundToGrid(weight, bits);
  return weight;
}

/** tr((target − w) H (target − w)ᵀ) by row, in f64. */
export function lossesOf({ out, n, target, hessian }: Problem, w: Floats): readonly number[] {
  return Array.from({ length: out }, (_, row) => {
    const d = Float64Array.from({ length: n }, (_, j) => target[row * n + j]! - w[row * n + j]!);
    let sum = 0;
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) sum += d[i]! * hessian[i * n + j]! * d[j]!;
    return sum;
  });
}

export type Steps = {
  readonly sweeps: number;
  readonly refinesScales: boolean;
  readonly refinesCodes: boolean;
};

export async function refineWhole(
  device: Device,
  p: Problem,
  weight: RoundedWeight,
  steps: Steps,
  width: number = p.n,
): Promise<{
  readonly w: Floats;
  readonly scales: Floats;
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly residual: Floats;
}> {
  const target = device.from("f32", p.target, [p.out, p.n]);
  const hessian = device.from("f32", p.hessian, [p.n, p.n]);
  const residual = ops.residual(target, weight.w, hessian);
  for (let begin = 0; begin < p.n; begin += width) {
    const end = Math.min(p.n, begin + width);
    const options = { bits: p.bits, scaleDtype: "f16", ...steps } as const;
    const change = ops.refineBlock(weight, { residual, hessian }, { begin, end }, options);
    ops.accumulateProduct({ a: change, b: hessian.narrow(0, begin, end - begin) }, residual, "-");
  }
  return {
    w: await weight.w.read(),
    scales: await weight.scales.read(),
    codes: await weight.codes.read(),
    residual: await residual.read(),
  };
}
