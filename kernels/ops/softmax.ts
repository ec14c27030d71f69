import { call } from "../native.ts";
import type { F32, I32 } from "./types.ts";

/** x − log Σ exp(x) per row of [rows, width]. */
export function logSoftmax(x: F32): F32 {
  const y = x.device.empty("f32", x.shape);
  call((addon) => addon.logSoftmax(x.device.handle, x.handle, y.handle));
  return y;
}

/** [rows]: x[r, index[r]]; an index outside the row faults the device. */
export function pick(x: F32, index: I32): F32 {
  const y = x.device.empty("f32", [x.size(0)]);
  call((addon) => addon.pick(x.device.handle, x.handle, index.handle, y.handle));
  return y;
}

/** [rows]: KL(p ‖ q) in nats of log-probabilities [rows, width]. */
export function klDivergence(logP: F32, logQ: F32): F32 {
  const y = logP.device.empty("f32", [logP.size(0)]);
  call((addon) => addon.klDivergence(y.device.handle, logP.handle, logQ.handle, y.handle));
  return y;
}

/**
 * [rows]: where the largest of the first `limit` values of a row stands, the first of equals; −1 if one of
 * them is NaN. The limit keeps ids without a token out.
 */
export function argmax(x: F32, limit: number): I32 {
  const y = x.device.empty("i32", [x.size(0)]);
  call((addon) => addon.argmax(x.device.handle, x.handle, limit, y.handle));
  return y;
}
