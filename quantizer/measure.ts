import { type F32, type FloatTensor, ops } from "../kernels/index.ts";
import { QuantizeError } from "./errors.ts";
import type { Hessian } from "./hessian.ts";
import type { MethodResult } from "./methods/index.ts";

/** @throws QuantizeError QUANTIZE_NOT_FINITE naming the tensor if it holds a NaN or infinity */
export async function requireFinite(tensor: FloatTensor, name: string): Promise<void> {
  const [rows = 1, ...rest] = tensor.shape;
  using matrix = tensor.reshape([rows, rest.reduce((product, extent) => product * extent, 1)]);
  using bad = ops.countNonFinite(matrix);
  const [count = 0] = await bad.read();
  if (count === 0) return;
  throw new QuantizeError(
    "QUANTIZE_NOT_FINITE",
    `${name} holds ${count} values that are NaN or infinite; the model, or what was merged into it, is broken`,
  );
}

/** Outputs of a linear on which its relative error is measured. */
export const sampledOutputs = 512;

/**
 * Squared output error per calibration token, and its share of the squared output, on a sample of outputs spread over the layer
 * where it has more than 512.
 *
 * The error is tr(Δ H Δᵀ). Where a method spread errors through H + λI = (UᵀU)⁻¹, Δ = E·U with E the errors divided by U's
 * diagonal, so that it is Σ e² − λ ‖Δ‖²: no product with H is needed.
 *
 * Where a method had another target than the original, the error is what is left to that.
 *
 * @param original   [out, in], overwritten in the columns of dead inputs, as is `quantized`
 */
export async function measure(
  original: F32,
  quantized: F32,
  hessian: Hessian,
  result: Pick<MethodResult, "spread" | "damping" | "target">,
): Promise<{ loss: number; relativeError: number }> {
  // Inputs that no token reached have no output; their stand-in on the diagonal must not count.
  ops.zeroColumns(original, hessian.diagonal);
  ops.zeroColumns(quantized, hessian.diagonal);
  const losses = await outputErrors(result.target ?? original, quantized, hessian, result);
  const outputs = original.size(0);
  const count = Math.min(outputs, sampledOutputs);
  const sample = Int32Array.from({ length: count }, (_, i) => Math.floor((i * outputs) / count));
  using index = original.device.from("i32", sample);
  using rows = ops.gatherRows(original, index);
  using squares = ops.quadraticForm(rows, undefined, hessian.matrix);
  const output = sum(await squares.read());
  const lost = sum(Array.from(sample, (row) => losses[row] ?? Number.NaN));
  return { loss: sum(losses), relativeError: output > 0 ? lost / output : 0 };
}

/** [out] */
async function outputErrors(
  original: F32,
  quantized: F32,
  hessian: Hessian,
  { spread, damping }: Pick<MethodResult, "spread" | "damping">,
): Promise<Float64Array | Float32Array> {
  if (spread === undefined) {
    using lost = ops.quadraticForm(original, quantized, hessian.matrix);
    return await lost.read();
  }
  using distances = original.device.zeros("f32", [original.size(0)]);
  ops.accumulateSquares(original, quantized, distances);
  const [spreadValues, squares] = [await spread.read(), await distances.read()];
  const lambda = damping * hessian.meanDiagonal;
  return Float64Array.from(spreadValues, (value, row) =>
    Math.max(0, value - lambda * (squares[row] ?? 0)),
  );
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
