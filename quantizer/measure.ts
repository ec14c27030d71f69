import { type F32, type FloatTensor, ops } from "../kernels/index.ts";
import { QuantizeError } from "./errors.ts";
import type { Hessian } from "./hessian.ts";

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

/**
 * Squared output error per calibration token, and its share of the squared output.
 *
 * @param original   [out, in], overwritten in the columns of dead inputs, as is `quantized`
 */
export async function measure(
  original: F32,
  quantized: F32,
  hessian: Hessian,
): Promise<{ loss: number; relativeError: number }> {
  // Inputs that no token reached have no output; their stand-in on the diagonal must not count.
  ops.zeroColumns(original, hessian.diagonal);
  ops.zeroColumns(quantized, hessian.diagonal);
  using lost = ops.quadraticForm(original, quantized, hessian.matrix);
  using whole = ops.quadraticForm(original, undefined, hessian.matrix);
  const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);
  const loss = sum(await lost.read());
  const output = sum(await whole.read());
  return { loss, relativeError: output > 0 ? loss / output : 0 };
}
