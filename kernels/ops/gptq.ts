import { call, type NativeGrid } from "../native.ts";
import type { F32, I32, U8 } from "./types.ts";

/** How a group's scale and zero follow from its weights; see kernels/src/ops/gptq/gptq.h. */
export type GridOptions = {
  /** 2 to 8 */
  readonly bits: number;
  readonly symmetric: boolean;
  /** AutoGPTQ's range of a symmetric group without negative weights: [0, max] instead of [−max, max] */
  readonly keepsPositiveRange: boolean;
  /** Of a symmetric grid: the long side of its codes is that of the largest weight, so scales may be negative and are finer */
  readonly isSigned: boolean;
  /** What scales are stored as: they are rounded to it before they are used */
  readonly scaleDtype: "f32" | "f16" | "bf16";
  /** Whether a group's range is shrunk to what gives the least squared rounding error */
  readonly minimizesError: boolean;
};

/** Where gptqBlock takes the range of a group from: `stale` is AutoGPTQ's order. */
export type RangeSource = "given" | "updated" | "stale";
const rangeSources: readonly RangeSource[] = ["given", "updated", "stale"];

/** A weight being rounded, [out, in]; scales and zeros are [out, groups]. */
export type RoundedWeight = {
  /** [out, in]; becomes scale · (code − zero) */
  readonly w: F32;
  /** [in], the group of each column */
  readonly columnGroup: I32;
  readonly scales: F32;
  readonly zeros: I32;
  /** [out, in] */
  readonly codes: U8;
};

function positional(grid: GridOptions): NativeGrid {
  const { bits, symmetric, keepsPositiveRange, isSigned, scaleDtype, minimizesError } = grid;
  return [bits, symmetric, keepsPositiveRange, isSigned, scaleDtype, minimizesError];
}

/**
 * Scales and zeros of all groups of consecutive columns.
 *
 * @param w           [out, in]
 * @param importance  [in], what a column's squared error counts where the grid minimizes it; by default all the same
 * @returns scales and zeros, [out, ceil(in / groupSize)]
 */
export function findGrid(
  w: F32,
  grid: GridOptions,
  groupSize: number,
  importance?: F32,
): { scales: F32; zeros: I32 } {
  const shape = [w.size(0), Math.ceil(w.size(1) / groupSize)];
  const scales = w.device.empty("f32", shape);
  const zeros = w.device.empty("i32", shape);
  call((addon) =>
    addon.findGrid(
      w.device.handle,
      w.handle,
      ...positional(grid),
      groupSize,
      importance?.handle ?? null,
      scales.handle,
      zeros.handle,
    ),
  );
  return { scales, zeros };
}

/** Rounds every weight to the nearest point of its group's grid, in place; fills `codes`. */
export function roundToGrid(weight: RoundedWeight, bits: number): void {
  call((addon) =>
    addon.roundToGrid(
      weight.w.device.handle,
      weight.w.handle,
      weight.columnGroup.handle,
      bits,
      weight.scales.handle,
      weight.zeros.handle,
      weight.codes.handle,
    ),
  );
}

/**
 * GPTQ on columns [begin, end): rounds one after another and moves each error onto the block's later columns
 * (arXiv:2210.17323, algorithm 1, inner loop). Later blocks follow by trailingUpdate.
 *
 * @param factor  [in, in] from inverseCholesky
 * @returns error [out, end − begin]
 */
export function gptqBlock(
  weight: RoundedWeight,
  factor: F32,
  block: { readonly begin: number; readonly end: number },
  options: {
    readonly grid: GridOptions;
    readonly range: RangeSource;
    /** [in], see findGrid */
    readonly importance?: F32 | undefined;
  },
): F32 {
  const error = weight.w.device.empty("f32", [weight.w.size(0), block.end - block.begin]);
  call((addon) =>
    addon.gptqBlock(
      weight.w.device.handle,
      weight.w.handle,
      factor.handle,
      block.begin,
      block.end,
      weight.columnGroup.handle,
      ...positional(options.grid),
      rangeSources.indexOf(options.range),
      options.importance?.handle ?? null,
      weight.scales.handle,
      weight.zeros.handle,
      weight.codes.handle,
      error.handle,
    ),
  );
  return error;
}

/** w[:, end:] −= error · factor[begin:end, end:], where end = begin + columns of error. */
export function trailingUpdate(w: F32, error: F32, factor: F32, begin: number): void {
  call((addon) =>
    addon.trailingUpdate(w.device.handle, w.handle, error.handle, factor.handle, begin),
  );
}

/**
 * [out]: d·H·dᵀ per row, d = a − b, or a where b is undefined: a layer's squared output error, or squared output,
 * summed over the tokens that made H.
 *
 * @param a        [out, in]
 * @param b        [out, in]
 * @param hessian  [in, in]
 */
export function quadraticForm(a: F32, b: F32 | undefined, hessian: F32): F32 {
  const y = a.device.empty("f32", [a.size(0)]);
  const bHandle = b?.handle ?? null;
  call((addon) =>
    addon.quadraticForm(a.device.handle, a.handle, bHandle, hessian.handle, y.handle),
  );
  return y;
}

/** y[o] += Σ (a[o] − b[o])², or of a[o]² where b is undefined. @param a, b  [out, n] @param y  [out] */
export function accumulateSquares(a: F32, b: F32 | undefined, y: F32): void {
  const bHandle = b?.handle ?? null;
  call((addon) => addon.accumulateSquares(y.device.handle, a.handle, bHandle, y.handle));
}
