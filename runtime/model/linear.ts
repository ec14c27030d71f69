import { type F32, type FloatTensor, type GptqWeight, ops } from "../../kernels/index.ts";
import type { LinearShape, QuantizationConfig } from "../checkpoint/index.ts";
import { decodeLinear } from "./gptq-format.ts";
import type { Weights } from "./weights.ts";

/** y = x·Wᵀ + b, however W is stored. */
export interface Linear extends Disposable {
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** The weight as floats [out, in], where that is how it is stored. */
  readonly weight: FloatTensor | undefined;
  /** The weight as it is packed, where it is. */
  readonly packed: GptqWeight | undefined;
  readonly bias: FloatTensor | undefined;
  /** x [rows, in] to a new [rows, out]. */
  apply(x: F32): F32;
}

/** A linear over a float weight [out, in]. It owns both tensors. */
export function floatLinear(weight: FloatTensor, bias: FloatTensor | undefined): Linear {
  return {
    inFeatures: weight.size(1),
    outFeatures: weight.size(0),
    weight,
    packed: undefined,
    bias,
    apply: (x) => ops.linear(x, weight, bias),
    [Symbol.dispose]() {
      weight[Symbol.dispose]();
      bias?.[Symbol.dispose]();
    },
  };
}

/** A linear over packed GPTQ tensors. It owns all of them. */
export function gptqLinear(weight: GptqWeight, bias: FloatTensor | undefined): Linear {
  return {
    inFeatures: (weight.qweight.size(0) * 32) / weight.bits,
    outFeatures: weight.qweight.size(1),
    weight: undefined,
    packed: weight,
    bias,
    apply: (x) => ops.linearGptq(x, weight, bias),
    [Symbol.dispose]() {
      weight.qweight[Symbol.dispose]();
      weight.qzeros[Symbol.dispose]();
      weight.scales[Symbol.dispose]();
      weight.groupIndex?.[Symbol.dispose]();
      bias?.[Symbol.dispose]();
    },
  };
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
  quantization: QuantizationConfig | undefined,
): Linear {
  const packed = quantization !== undefined && !weights.has(`${name}.weight`);
  if (packed) {
    const { weight, bias } = decodeLinear(weights, name, shape, quantization);
    return gptqLinear(weight, bias);
  }
  const weight = weights.float(`${name}.weight`, [shape.outFeatures, shape.inFeatures]);
  const hasBias = shape.hasBias || weights.has(`${name}.bias`);
  return floatLinear(
    weight,
    hasBias ? weights.float(`${name}.bias`, [shape.outFeatures]) : undefined,
  );
}
