// Whether what a quantized checkpoint keeps as floats is what its source holds: embeddings, norms and biases.
import { type Device, type FloatTensor, ops } from "../../kernels/index.ts";
import { openCheckpoint, type StoredDtype } from "../checkpoint/index.ts";
import { Weights } from "./weights.ts";

const floats: ReadonlySet<StoredDtype> = new Set(["BF16", "F16", "F32"]);

/** Rounding to bf16 errs by 0.4 % at most, to f16 by less; values too small for f16 hardly count. */
const plausibleError = 0.01;

/** Rows per tensor that are compared. */
const sampledRows = 64;

/**
 * Compares, on a sample of rows, the float tensors that both checkpoints have. Biases of zeros that only the quantized one
 * has are judged by the loaders' rules.
 *
 * @returns names of the tensors that hold other values, or values of another shape, than the source's
 * @throws CheckpointError as `openCheckpoint` does
 */
export async function findForeignFloats(
  dir: string,
  sourceDir: string,
  device: Device,
): Promise<readonly string[]> {
  const [checkpoint, source] = [openCheckpoint(dir), openCheckpoint(sourceDir)];
  using weights = new Weights(checkpoint, device, undefined);
  using sourceWeights = new Weights(source, device, undefined);
  const foreign: string[] = [];
  for (const { name, dtype, shape } of checkpoint.tensors.values()) {
    const original = source.tensors.get(name);
    if (original === undefined || !floats.has(dtype) || !floats.has(original.dtype)) continue;
    if (original.shape.join() !== shape.join()) {
      foreign.push(name);
      continue;
    }
    using tensor = weights.float(name, shape);
    using expected = sourceWeights.float(name, shape);
    const [a, b] = [await sample(tensor), await sample(expected)];
    let error = 0;
    let size = 0;
    for (const [i, value] of b.entries()) {
      error += (value - (a[i] ?? Number.NaN)) ** 2;
      size += value ** 2;
    }
    if (!(error <= plausibleError ** 2 * size)) foreign.push(name);
  }
  return foreign;
}

/** Rows spread evenly over the tensor, as f32. */
async function sample(tensor: FloatTensor): Promise<Float32Array> {
  const { device, shape } = tensor;
  const columns = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
  const count = Math.min(sampledRows, rows);
  const chosen = Int32Array.from({ length: count }, (_, i) => Math.floor((i * rows) / count));
  using matrix = tensor.reshape([rows, columns]);
  using index = device.from("i32", chosen);
  using counts = device.zeros("i32", [2]);
  using picked = ops.gatherRows(matrix, index);
  using values = ops.cast(picked, "f32", counts);
  return await values.read();
}
