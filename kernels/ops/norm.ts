import { call } from "../native.ts";
import type { F32, FloatTensor } from "./types.ts";

/** What rows are normalised by. */
export type RmsNorm = {
  /** [width] */
  readonly weight: FloatTensor;
  readonly epsilon: number;
};

/**
 * x / sqrt(mean(x²) + epsilon) · weight per row (arXiv:1910.07467).
 *
 * @param x       [rows, width]
 * @param weight  [width]
 * @returns [rows, width]
 */
export function rmsNorm(x: F32, weight: FloatTensor, epsilon: number): F32 {
  const y = x.device.empty("f32", x.shape);
  call((addon) => addon.rmsNorm(x.device.handle, x.handle, weight.handle, epsilon, y.handle));
  return y;
}
