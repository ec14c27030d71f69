import { call } from "../native.ts";
import type { F32 } from "./types.ts";

/** a + b, both [rows, width]. */
export function add(a: F32, b: F32): F32 {
  const y = a.device.empty("f32", a.shape);
  call((addon) => addon.add(a.device.handle, a.handle, b.handle, y.handle));
  return y;
}

/** up · silu(gate), both [rows, width] (arXiv:2002.05202). */
export function swiglu(up: F32, gate: F32): F32 {
  const y = up.device.empty("f32", up.shape);
  call((addon) => addon.swiglu(up.device.handle, up.handle, gate.handle, y.handle));
  return y;
}
