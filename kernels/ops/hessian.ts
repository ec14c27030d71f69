import { call } from "../native.ts";
import type { F32, I32 } from "./types.ts";

/**
 * gram += xᵀx, upper triangle only; the rest is undefined until finishHessian.
 *
 * @param x     [rows, n]
 * @param gram  [n, n]
 * @param dtype "bf16" rounds x first: products are then exact, and faster where the processor multiplies bf16
 */
export function accumulateGram(x: F32, gram: F32, dtype: "f32" | "bf16" = "f32"): void {
  call((addon) => addon.accumulateGram(x.device.handle, x.handle, gram.handle, dtype === "bf16"));
}

/**
 * Scales and mirrors a sum of xᵀx in place. Zeros on the diagonal (inputs never seen) become 1.
 *
 * @param gram  [n, n], becomes the Hessian
 * @returns [n]: the scaled diagonal before zeros became ones
 */
export function finishHessian(gram: F32, scale: number): F32 {
  const diagonal = gram.device.empty("f32", [gram.size(0)]);
  call((addon) => addon.finishHessian(gram.device.handle, gram.handle, scale, diagonal.handle));
  return diagonal;
}

/**
 * cross += (original − x)ᵀ·inputs: how far values are from what they were meant to be, by the inputs that could make up for it.
 *
 * @param values.x, values.original  [rows, m]
 * @param values.inputs              [rows, n], x by default
 * @param cross                      [m, n]
 * @param dtype                      see accumulateGram
 */
export function accumulateCross(
  values: { readonly x: F32; readonly original: F32; readonly inputs?: F32 },
  cross: F32,
  dtype: "f32" | "bf16" = "f32",
): void {
  const { x, original, inputs = x } = values;
  call((addon) =>
    addon.accumulateCross(
      ...([x.device.handle, x.handle, original.handle, inputs.handle, cross.handle] as const),
      dtype === "bf16",
    ),
  );
}

/** matrix · scale + shift · I, in place; a shift requires it to be square. @param matrix  [m, n] */
export function scaleAndShift(matrix: F32, scale: number, shift: number): void {
  call((addon) => addon.scaleAndShift(matrix.device.handle, matrix.handle, scale, shift));
}

/**
 * The upper factor U of the inverse of a damped Hessian: (H + d·I)⁻¹ = UᵀU, d = damping · mean(diag H).
 *
 * @param hessian  [n, n]
 * @returns factor [n, n]; status [1]: 0, or 1 + the row whose pivot was not positive
 */
export function inverseCholesky(hessian: F32, damping: number): { factor: F32; status: I32 } {
  const factor = hessian.device.empty("f32", hessian.shape);
  const status = hessian.device.empty("i32", [1]);
  call((addon) =>
    addon.inverseCholesky(
      hessian.device.handle,
      hessian.handle,
      damping,
      factor.handle,
      status.handle,
    ),
  );
  return { factor, status };
}
