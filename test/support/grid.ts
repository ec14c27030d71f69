// What the tests of a grid and of rounding to it share.
import type { Device, F32 } from "../../kernels/index.ts";

export type Floats = Float32Array<ArrayBuffer>;

export function roundEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** w [out, in] as a view of wider rows, whose other columns are NaN. */
export function strided(
  device: Device,
  w: Floats,
  out: number,
  columns: number,
): { whole: F32; view: F32 } {
  const wide = new Float32Array(out * (columns + 3)).fill(Number.NaN);
  for (let row = 0; row < out; row++) {
    wide.set(w.subarray(row * columns, (row + 1) * columns), row * (columns + 3) + 1);
  }
  const whole = device.from("f32", wide, [out, columns + 3]);
  return { whole, view: whole.narrow(1, 1, columns) };
}
