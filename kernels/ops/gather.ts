import type { DType } from "../dtype.ts";
import { call } from "../native.ts";
import type { Tensor } from "../tensor.ts";
import type { F32, I32 } from "./types.ts";

/** Rows of x [rows, width] in the order of `index` [count]. */
export function gatherRows<T extends DType>(x: Tensor<T>, index: I32): Tensor<T> {
  const y = x.device.empty(x.dtype, [index.size(0), x.size(1)]);
  call((addon) => addon.gatherRows(x.device.handle, x.handle, index.handle, y.handle));
  return y;
}

/** Columns of x [rows, width] in the order of `index` [count]. */
export function gatherColumns<T extends "f32" | "u8">(x: Tensor<T>, index: I32): Tensor<T> {
  const y = x.device.empty(x.dtype, [x.size(0), index.size(0)]);
  call((addon) => addon.gatherColumns(x.device.handle, x.handle, index.handle, y.handle));
  return y;
}

/** Sets the columns of w [rows, width] to zero whose entry of `diagonal` [width] is zero. */
export function zeroColumns(w: F32, diagonal: F32): void {
  call((addon) => addon.zeroColumns(w.device.handle, w.handle, diagonal.handle));
}
