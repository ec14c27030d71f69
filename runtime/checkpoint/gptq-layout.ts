// Which tensors a GPTQ checkpoint holds for each linear: names, dtypes, shapes. What is in them is computed elsewhere.
// See auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py.

import type { TensorSpec } from "./dtype.ts";
import { CheckpointError, shown } from "./errors.ts";
import type { QuantizationConfig } from "./quantization-config.ts";
import type { LinearShape } from "./qwen-tensors.ts";

/** Dtype of everything that is not packed: scales, biases, norms, embeddings. */
export type FloatDtype = "F16" | "BF16";

export type LinearLayout = {
  readonly bits: QuantizationConfig["bits"];
  /** Inputs that share a scale; -1 for all of them. */
  readonly groupSize: number;
  readonly floatDtype: FloatDtype;
  readonly hasBias: boolean;
};

export type QuantizedExtents = Pick<LinearShape, "inFeatures" | "outFeatures"> &
  Partial<Pick<LinearLayout, "bits" | "groupSize">>;

/**
 * The tensors of one quantized linear. For K inputs, N outputs, G = ceil(K / groupSize) groups:
 * qweight I32 [K * bits / 32, N], qzeros I32 [G, N * bits / 32], scales [G, N], g_idx I32 [K], bias [N].
 *
 * @throws CheckpointError CHECKPOINT_UNSUPPORTED if K or N is not a multiple of 32, or K not one of groupSize
 */
export function quantizedTensorEntries(
  linearName: string,
  size: Pick<LinearShape, "inFeatures" | "outFeatures">,
  layout: LinearLayout,
): readonly TensorSpec[] {
  const { inFeatures, outFeatures } = size;
  const { bits, floatDtype, hasBias } = layout;
  const groupSize = layout.groupSize === -1 ? inFeatures : layout.groupSize;
  requireMultiple(linearName, "in features", inFeatures, { of: 32, because: "a packed word row" });
  requireMultiple(linearName, "out features", outFeatures, { of: 32, because: "packed zeros" });
  requireMultiple(linearName, "in features", inFeatures, { of: groupSize, because: "group size" });
  const groups = inFeatures / groupSize;
  const entries: TensorSpec[] = [
    { name: `${linearName}.qweight`, dtype: "I32", shape: [(inFeatures / 32) * bits, outFeatures] },
    { name: `${linearName}.qzeros`, dtype: "I32", shape: [groups, (outFeatures / 32) * bits] },
    { name: `${linearName}.scales`, dtype: floatDtype, shape: [groups, outFeatures] },
    { name: `${linearName}.g_idx`, dtype: "I32", shape: [inFeatures] },
  ];
  if (hasBias)
    entries.push({ name: `${linearName}.bias`, dtype: floatDtype, shape: [outFeatures] });
  return entries;
}

/**
 * Every tensor of a checkpoint in which some linears are quantized, in the float model's order.
 *
 * @param shapes   name and shape of every tensor of the float model
 * @param linears  the quantized linears by name; with bits or a group size of their own where they have
 * @param layout   with `zeroBias`, linears without a bias get one of zeros, as in the official files: loaders of that time
 *   declare one everywhere and would leave it uninitialised
 * @throws CheckpointError CHECKPOINT_UNSUPPORTED naming the first linear whose size does not fit
 */
export function quantizedCheckpointEntries(
  shapes: ReadonlyMap<string, readonly number[]>,
  linears: ReadonlyMap<string, QuantizedExtents>,
  layout: Omit<LinearLayout, "hasBias"> & { readonly zeroBias: boolean },
): readonly TensorSpec[] {
  const { floatDtype, zeroBias } = layout;
  return [...shapes].flatMap(([name, shape]): readonly TensorSpec[] => {
    const [, owner = "", kind = ""] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
    const linear = linears.get(owner);
    if (linear === undefined) return [{ name, dtype: floatDtype, shape: [...shape] }];
    if (kind === "bias") return []; // listed with the weight
    const hasBias = zeroBias || shapes.has(`${owner}.bias`);
    const { bits = layout.bits, groupSize = layout.groupSize } = linear;
    return quantizedTensorEntries(owner, linear, { bits, groupSize, floatDtype, hasBias });
  });
}

function requireMultiple(
  linear: string,
  what: string,
  value: number,
  rule: { readonly of: number; readonly because: string },
): void {
  if (value > 0 && value % rule.of === 0) return;
  throw new CheckpointError(
    "CHECKPOINT_UNSUPPORTED",
    `linear ${shown(linear)}: ${what} ${value} is not a multiple of ${rule.of} (${rule.because}); choose another group size or leave this linear unquantized`,
  );
}
