import {
  type ActivationDtype,
  type F32,
  type FloatTensor,
  type GptqWeight,
  ops,
  type PackedLinear,
  type PackedWeight,
  type RmsNorm,
} from "../../kernels/index.ts";
import { type LinearShape, type QuantizationConfig, settingsFor } from "../checkpoint/index.ts";
import { decodeLinear } from "./gptq-format.ts";
import type { Weights } from "./weights.ts";

/** y = x·Wᵀ + b, however W is stored. */
export interface Linear extends Disposable {
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** The weight as floats [out, in], where that is how it is stored. */
  readonly weight: FloatTensor | undefined;
  /** The weight in the GPTQ layout, where that is how it is stored. */
  readonly stored: GptqWeight | undefined;
  readonly bias: FloatTensor | undefined;
  /** x [rows, in] to a new [rows, out]. */
  apply(x: F32, options?: ApplyOptions): F32;
  /** What products read where it is quantized, brought into their order on first use; undefined for floats. */
  packed(): QuantizedOperand | undefined;
}

export type ApplyOptions = {
  /** What x is normalised by before it is multiplied. */
  readonly norm?: RmsNorm | undefined;
  /** [rows, out], added to the result. */
  readonly residual?: F32 | undefined;
};

/** What a quantized linear multiplies by, and what its inputs are rounded to. */
export type QuantizedOperand = PackedLinear & {
  readonly activations: ActivationDtype | undefined;
};

/** A linear over a float weight [out, in]. It owns both tensors. */
export function floatLinear(weight: FloatTensor, bias: FloatTensor | undefined): Linear {
  return {
    inFeatures: weight.size(1),
    outFeatures: weight.size(0),
    weight,
    stored: undefined,
    bias,
    apply(x, { norm, residual } = {}) {
      using normed = normalized(x, norm);
      const y = ops.linear(normed ?? x, weight, bias);
      if (residual === undefined) return y;
      using change = y;
      return ops.add(residual, change);
    },
    packed: () => undefined,
    [Symbol.dispose]() {
      weight[Symbol.dispose]();
      bias?.[Symbol.dispose]();
    },
  };
}

/** What a host knows of a weight in the GPTQ layout. */
export type GptqDetails = {
  /** [in], what `weight.groupIndex` holds; undefined where it has none */
  readonly groupIndex: Int32Array | undefined;
  /** Where every zero is known to be the same */
  readonly zero?: number | undefined;
  /** What inputs are rounded to, "int16" by default */
  readonly activations?: ActivationDtype | undefined;
  /** What packing gave in an earlier run, where that was kept; asked on first use. */
  readonly restore?: () => PackedWeight | undefined;
  /** Called when the stored tensors are no longer needed to compute with, after they were read. */
  readonly onPacked?: (packed: PackedWeight) => void;
};

/** A linear over GPTQ tensors, which it owns. They are brought into the order of `ops.packedLinear` on first use. */
export function gptqLinear(
  weight: GptqWeight,
  bias: FloatTensor | undefined,
  details: GptqDetails,
): Linear {
  let packed: PackedWeight | undefined;
  const pack = (): PackedWeight => {
    const restored = details.restore?.();
    if (restored !== undefined) return restored;
    const result = ops.packLinear(weight, details);
    details.onPacked?.(result);
    return result;
  };
  const operand = () => {
    packed ??= pack();
    return { weight: packed, bias, activations: details.activations };
  };
  return {
    inFeatures: (weight.qweight.size(0) * 32) / weight.bits,
    outFeatures: weight.qweight.size(1),
    weight: undefined,
    stored: weight,
    bias,
    apply(x, options) {
      const { weight: own, ...rest } = operand();
      return ops.quantizedLinear(x, own, { ...rest, ...options });
    },
    packed: operand,
    [Symbol.dispose]() {
      const { qweight, qzeros, scales, groupIndex } = weight;
      disposeAll(qweight, qzeros, scales, groupIndex, bias);
      if (packed === undefined) return;
      disposeAll(packed.words, packed.scales, packed.zeros, packed.layout.order);
    },
  };
}

/** A new tensor, where there is a norm. */
function normalized(x: F32, norm: RmsNorm | undefined): F32 | undefined {
  return norm && ops.rmsNorm(x, norm.weight, norm.epsilon);
}

/**
 * up · silu(gate) of two linears of x [rows, in] (SwiGLU), which may be normalised before: a new [rows, out]. One operation
 * where both are quantized and can share what x is rounded to.
 */
export function applyGated(
  x: F32,
  linears: { readonly up: Linear; readonly gate: Linear },
  norm?: RmsNorm,
): F32 {
  const [up, gate] = [linears.up.packed(), linears.gate.packed()];
  if (up !== undefined && gate !== undefined && up.activations === gate.activations) {
    if (ops.haveSamePlaces(up.weight.layout, gate.weight.layout)) {
      return ops.gatedLinear(x, { up, gate, norm, activations: up.activations });
    }
  }
  using normed = normalized(x, norm);
  using y = linears.up.apply(normed ?? x);
  using gates = linears.gate.apply(normed ?? x);
  return ops.swiglu(y, gates);
}

function disposeAll(...tensors: readonly (Disposable | undefined)[]): void {
  for (const tensor of tensors) tensor?.[Symbol.dispose]();
}

/**
 * Loads a linear as floats or, where the checkpoint has it packed, as GPTQ. A quantized checkpoint may keep some
 * linears as floats, and carries biases (zeros) even where the model has none.
 *
 * @throws CheckpointError naming the tensor that is missing or does not fit
 */
export function loadLinear(
  weights: Weights,
  name: string,
  shape: Omit<LinearShape, "part">,
  stored: {
    readonly quantization: QuantizationConfig | undefined;
    readonly activations?: ActivationDtype | undefined;
    readonly isPrefetched?: boolean | undefined;
  },
): Linear {
  const { quantization, activations, isPrefetched } = stored;
  const settings = quantization && settingsFor(quantization, name);
  if (settings !== undefined && !weights.has(`${name}.weight`)) {
    const { weight, bias, ...details } = decodeLinear(weights, name, shape, settings, {
      isPrefetched,
    });
    const cache = weights.packedCache;
    return gptqLinear(weight, bias, {
      ...{ ...details, activations },
      restore: () => cache?.restore(name, weight, details),
      onPacked: (packed) => {
        cache?.add(name, packed);
        weights.evict(`${name}.`);
      },
    });
  }
  const float = (part: string, extents: readonly number[]) =>
    weights.float(`${name}.${part}`, extents, { isPrefetched });
  const weight = float("weight", [shape.outFeatures, shape.inFeatures]);
  const hasBias = shape.hasBias || weights.has(`${name}.bias`);
  return floatLinear(weight, hasBias ? float("bias", [shape.outFeatures]) : undefined);
}
