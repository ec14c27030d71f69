// What is left to gain after rounding, without leaving the format: better scales for the codes, better codes for the scales.
import { type F32, ops, type RefineOptions, type RoundedWeight } from "../../kernels/index.ts";
import type { Recipe } from "../recipe.ts";

/** Columns refined together; the residuals of the others follow in one product. */
const blockColumns = 128;
/** Over a block while it is at hand, and over the whole weight. */
const innerSweeps = 2;
const outerSweeps = 3;

/** Products of the weight with a square matrix that it takes: the first residual, and one for each sweep. */
export const refineProducts: number = 1 + outerSweeps;
/** Times that each column is updated with the others of its block, by scales and by codes. */
export const refineSweeps: number = 2 * innerSweeps * outerSweeps;

/**
 * Lowers tr((target − w) H (target − w)ᵀ) by coordinate descent, in place.
 *
 * @param weight   groups are runs of columns; in one order with the target and the Hessian
 * @param target   [out, in]
 * @param hessian  [in, in], damped
 */
export function refine(
  weight: RoundedWeight,
  target: F32,
  hessian: F32,
  recipe: Pick<Recipe, "bits" | "groupSize" | "refine" | "dtype">,
): void {
  const columns = weight.w.size(1);
  const groupSize = recipe.groupSize === -1 ? columns : recipe.groupSize;
  const options = { bits: recipe.bits, scaleDtype: recipe.dtype };
  const refinesCodes = recipe.refine === "codes";
  using residual = ops.residual(target, weight.w, hessian);
  const sweep = (
    width: number,
    how: Pick<RefineOptions, "sweeps" | "refinesScales" | "refinesCodes">,
  ) => {
    for (let begin = 0; begin < columns; begin += width) {
      const end = Math.min(begin + width, columns);
      const parts = { residual, hessian };
      using change = ops.refineBlock(weight, parts, { begin, end }, { ...options, ...how });
      using rows = hessian.narrow(0, begin, end - begin);
      ops.accumulateProduct({ a: change, b: rows }, residual, "-");
    }
  };
  // A scale can move only with its whole group at hand, and is then at its best at once while codes stay.
  const isWide = groupSize > blockColumns;
  for (let outer = 0; outer < outerSweeps; outer++) {
    if (isWide) sweep(groupSize, { sweeps: 1, refinesScales: true, refinesCodes: false });
    if (isWide && !refinesCodes) continue;
    sweep(blockColumns, { sweeps: innerSweeps, refinesScales: !isWide, refinesCodes });
  }
}
