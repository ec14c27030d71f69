import type { GridOptions } from "../../kernels/index.ts";
import type { Recipe } from "../recipe.ts";

/** The grid a recipe asks for. AutoGPTQ rounds scales only when it stores them. */
export function gridOf(recipe: Recipe): GridOptions {
  const compatible = recipe.compat === "autogptq";
  return {
    bits: recipe.bits,
    symmetric: recipe.symmetric,
    keepsPositiveRange: compatible,
    isSigned: recipe.signedScales && recipe.symmetric,
    minimizesError: recipe.grid !== "min-max",
    scaleDtype: compatible ? "f32" : recipe.dtype,
  };
}
