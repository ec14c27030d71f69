import { call } from "../native.ts";
import type { F32, I32 } from "./types.ts";

/**
 * Cosines and sines of the rotary angles of one step (arXiv:2104.09864).
 *
 * @param positions    [rows]
 * @param rowSequence  [rows], index into `base`
 * @param base         [sequences], the rotary base of each sequence, NTK scaling included
 * @param dim          width of a head, even
 * @returns [rows, dim]: cosines of the dim / 2 frequencies, then their sines
 */
export function ropeTable(positions: I32, rowSequence: I32, base: F32, dim: number): F32 {
  const table = positions.device.empty("f32", [positions.size(0), dim]);
  call((addon) =>
    addon.ropeTable(
      table.device.handle,
      positions.handle,
      rowSequence.handle,
      base.handle,
      table.handle,
    ),
  );
  return table;
}

/**
 * Rotates every head of `x` in place, halves paired as in GPT-NeoX.
 *
 * @param x      [rows, heads · dim]
 * @param table  [rows, dim] from ropeTable
 */
export function rope(x: F32, table: F32): void {
  call((addon) => addon.rope(x.device.handle, x.handle, table.handle));
}
