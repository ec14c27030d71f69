import { call } from "../native.ts";
import type { F32, FloatTensor, I32 } from "./types.ts";

/**
 * Rows of a table.
 *
 * @param table  [vocabulary, width]
 * @param ids    [rows]; one outside the table faults the device
 * @returns [rows, width]
 */
export function embedding(table: FloatTensor, ids: I32): F32 {
  const y = ids.device.empty("f32", [ids.size(0), table.size(-1)]);
  call((addon) => addon.embedding(y.device.handle, table.handle, ids.handle, y.handle));
  return y;
}
