import { call } from "../native.ts";
import type { RoundedWeight } from "./gptq.ts";
import type { F32 } from "./types.ts";

export type RefineOptions = {
  readonly bits: number;
  /** What scales are stored as, and therefore rounded to */
  readonly scaleDtype: "f32" | "f16" | "bf16";
  /** Over the scales and then the codes of the columns */
  readonly sweeps: number;
  /** Requires groups to lie within the columns. */
  readonly refinesScales: boolean;
  readonly refinesCodes: boolean;
};

/** (target − w)·H: minus half the gradient of tr((target − w) H (target − w)ᵀ). @param target, w  [out, in] @param hessian  [in, in] */
export function residual(target: F32, w: F32, hessian: F32): F32 {
  const y = w.device.empty("f32", w.shape);
  call((addon) =>
    addon.residual(w.device.handle, target.handle, w.handle, hessian.handle, y.handle),
  );
  return y;
}

/**
 * Coordinate descent on the scales and codes of columns [begin, end): each in turn takes the value, of those its format has,
 * that lowers the loss most while all others stay (kernels/src/ops/refine/refine.h).
 *
 * @param weight    its columns change in place
 * @param residual  [out, in] as of now; stays, so that the caller subtracts change · H[begin:end, :]
 * @param hessian   [in, in]
 * @returns change [out, end − begin]: w after minus w before
 */
export function refineBlock(
  weight: RoundedWeight,
  { residual, hessian }: { readonly residual: F32; readonly hessian: F32 },
  { begin, end }: { readonly begin: number; readonly end: number },
  options: RefineOptions,
): F32 {
  const change = weight.w.device.empty("f32", [weight.w.size(0), end - begin]);
  call((addon) =>
    addon.refineBlock(
      ...([weight.w.device.handle, weight.w.handle, residual.handle, hessian.handle] as const),
      ...([begin, end, weight.columnGroup.handle] as const),
      ...([options.bits, options.scaleDtype, options.sweeps] as const),
      ...([options.refinesScales, options.refinesCodes] as const),
      ...([weight.scales.handle, weight.zeros.handle, weight.codes.handle] as const),
      change.handle,
    ),
  );
  return change;
}

/** c += a·b, or c −= a·b. @param a  [m, k] @param b  [k, n] @param c  [m, n] */
export function accumulateProduct(
  { a, b }: { readonly a: F32; readonly b: F32 },
  c: F32,
  sign: "+" | "-" = "+",
): void {
  call((addon) =>
    addon.accumulateProduct(c.device.handle, a.handle, b.handle, sign === "-", c.handle),
  );
}
