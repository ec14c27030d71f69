// What a layer should compute so that its output is that of the float model, although its inputs are not.
import { type F32, type I32, ops } from "../../kernels/index.ts";

/** The order in which a factor was made, and the way back. */
export type ColumnOrder = { readonly order: I32; readonly inverse: I32 };

/** See Hessian. */
export type Crosses = { readonly cross: F32; readonly residualCross: F32 | undefined };

/** Products of the weight with a square matrix that it takes; two of them with a triangle. */
export const retargetProducts = 3;

/**
 * W + W·E·(H + λI)⁻¹ with E = α Σ (x̃ − x)ᵀx: for α = 1 the weight that brings W·x̃ as near as can be from inputs x. Rounding it
 * by GPTQ minimizes ‖W·X̃ − Ŵ·X‖², the objective of GPTAQ (arXiv:2504.02692), because what differs is a constant:
 * ‖W·X̃ − Ŵ·X‖² = tr((W* − Ŵ) H (W* − Ŵ)ᵀ) + c, exactly so without damping. Qronos (arXiv:2505.11695) has the same target.
 *
 * @param weight  [out, in]
 * @param cross   [in, in], E
 * @param factor  [in, in], U of (H + λI)⁻¹ = UᵀU
 * @returns [out, in]
 */
export function retarget(
  weight: F32,
  { cross, residualCross }: Crosses,
  factor: F32,
  columnOrder: ColumnOrder | undefined,
): F32 {
  const { device, shape } = weight;
  let missing = residualCross ? ops.copy(residualCross) : device.zeros("f32", shape);
  ops.accumulateProduct({ a: weight, b: cross }, missing);
  if (columnOrder !== undefined) missing = reordered(missing, columnOrder.order);
  // Times the transpose of the factor.
  const half = ops.linear(missing, factor);
  missing[Symbol.dispose]();
  let shift = device.zeros("f32", shape);
  ops.accumulateProduct({ a: half, b: factor }, shift);
  half[Symbol.dispose]();
  if (columnOrder !== undefined) shift = reordered(shift, columnOrder.inverse);
  using change = shift;
  return ops.add(weight, change);
}

/** The columns of `weight`, which is consumed, in an order. */
function reordered(weight: F32, order: I32): F32 {
  using source = weight;
  return ops.gatherColumns(source, order);
}
