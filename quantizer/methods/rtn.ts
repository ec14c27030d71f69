import { type F32, ops } from "../../kernels/index.ts";
import type { Recipe } from "../recipe.ts";
import { gridOf } from "./grid.ts";
import { consecutiveGroups } from "./groups.ts";
import type { Method, MethodResult } from "./method.ts";

/** Rounds every weight to the nearest point of its group's grid. */
export const rtn: Method = {
  name: "rtn",
  needsHessian: false,
  prepare: async (_hessian, recipe) => ({
    quantize: (weight, scheme) => roundToNearest(weight, { ...recipe, ...scheme }, undefined),
    [Symbol.dispose]() {},
  }),
};

/** @param fallback  why this is used instead of the recipe's method */
export function roundToNearest(
  weight: F32,
  recipe: Recipe,
  fallback: string | undefined,
): MethodResult {
  using w = weight;
  return {
    ...roundInPlace(w, recipe),
    method: "rtn",
    damping: 0,
    spread: undefined,
    target: undefined,
    fallback,
  };
}

/** Replaces a weight [out, in] by its nearest points of the recipe's grids. */
export function roundInPlace(
  w: F32,
  recipe: Recipe,
): Pick<MethodResult, "codes" | "scales" | "zeros" | "groupIndex"> {
  const inFeatures = w.size(1);
  const groupIndex = consecutiveGroups(inFeatures, recipe.groupSize);
  using columnGroup = w.device.from("i32", groupIndex);
  const groupSize = recipe.groupSize === -1 ? inFeatures : recipe.groupSize;
  const { scales, zeros } = ops.findGrid(w, gridOf(recipe), groupSize);
  const codes = w.device.empty("u8", w.shape);
  ops.roundToGrid({ w, columnGroup, scales, zeros, codes }, recipe.bits);
  return { codes, scales, zeros, groupIndex };
}
