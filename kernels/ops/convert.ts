import type { DType } from "../dtype.ts";
import { call } from "../native.ts";
import type { Tensor } from "../tensor.ts";
import type { FloatTensor, I32 } from "./types.ts";

/**
 * Converts between float dtypes, to nearest even.
 *
 * @param x       any shape, contiguous
 * @param counts  [2]: raised by the values that became infinite and by those that became zero
 */
export function cast<T extends "f32" | "f16" | "bf16">(
  x: FloatTensor,
  dtype: T,
  counts: I32,
): Tensor<T> {
  const y = x.device.empty(dtype, x.shape);
  call((addon) => addon.cast(x.device.handle, x.handle, y.handle, counts.handle));
  return y;
}

/** A contiguous copy of a matrix [rows, width]. */
export function copy<T extends DType>(x: Tensor<T>): Tensor<T> {
  const y = x.device.empty(x.dtype, x.shape);
  call((addon) => addon.copy(x.device.handle, x.handle, y.handle));
  return y;
}

/** [1]: how many values of a matrix [rows, width] are NaN or infinite. */
export function countNonFinite(x: FloatTensor): I32 {
  const count = x.device.empty("i32", [1]);
  call((addon) => addon.countNonFinite(x.device.handle, x.handle, count.handle));
  return count;
}
