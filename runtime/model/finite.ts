// Whether every float that a model stores is a number.
import { type Device, ops } from "../../kernels/index.ts";
import { openCheckpoint, type StoredDtype } from "../checkpoint/index.ts";
import { Weights } from "./weights.ts";

const floats: ReadonlySet<StoredDtype> = new Set(["BF16", "F16", "F32"]);

/** A tensor that no computation survives. */
export type NonFiniteTensor = {
  readonly name: string;
  /** Values that are NaN or infinite. */
  readonly count: number;
};

/**
 * Reads every float tensor of a checkpoint once: weights, embeddings, norms, biases and scales.
 *
 * @throws CheckpointError as `openCheckpoint` does
 */
export async function findNonFinite(
  dir: string,
  device: Device,
): Promise<readonly NonFiniteTensor[]> {
  const checkpoint = openCheckpoint(dir);
  using weights = new Weights(checkpoint, device, undefined);
  const found: NonFiniteTensor[] = [];
  for (const { name, dtype, shape } of checkpoint.tensors.values()) {
    if (!floats.has(dtype)) continue;
    using tensor = weights.float(name, shape);
    const columns = shape.at(-1) ?? 1;
    const rows = shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
    using matrix = tensor.reshape([rows, columns]);
    using bad = ops.countNonFinite(matrix);
    const [count = 0] = await bad.read();
    if (count > 0) found.push({ name, count });
    weights.evict(name);
  }
  return found;
}
