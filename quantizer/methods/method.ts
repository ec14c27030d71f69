import type { F32, I32, U8 } from "../../kernels/index.ts";
import type { Hessian } from "../hessian.ts";
import type { Recipe } from "../recipe.ts";

/** A weight reduced to codes; scales and zeros are [out, groups]. */
export type MethodResult = {
  /** [out, in] */
  readonly codes: U8;
  readonly scales: F32;
  readonly zeros: I32;
  /** [in], the group of each input */
  readonly groupIndex: Int32Array<ArrayBuffer>;
  /** Which method made it, and why if it was not the recipe's. */
  readonly method: string;
  readonly damping: number;
  /**
   * [out]: Σ e² over the columns of a row, e a column's rounding error divided by the diagonal of the factor U of the damped
   * Hessian; undefined where errors were not spread.
   */
  readonly spread: F32 | undefined;
  /** [out, in]: the weight that was to be approximated, if another than the given one. */
  readonly target: F32 | undefined;
  readonly fallback: string | undefined;
};

/** A stage's statistics prepared for its linears, by the method that asked for it. */
export interface Solver extends Disposable {
  /** Consumes `weight` [out, in], which has zeros in the columns of dead inputs; with a scheme, not as the recipe says. */
  quantize(weight: F32, scheme?: Partial<Pick<Recipe, "bits" | "groupSize">>): MethodResult;
}

/** A way to choose codes. */
export type Method = {
  readonly name: string;
  /** Whether it needs calibration. */
  readonly needsHessian: boolean;
  /** Does what the linears of one stage share. */
  prepare(hessian: Hessian | undefined, recipe: Recipe): Promise<Solver>;
};
