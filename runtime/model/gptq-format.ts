// The GPTQ layout, both ways: packed tensors of a checkpoint ↔ what kernels compute with. Stored names appear
// only here and in checkpoint/gptq-layout.ts.
import {
  type F32,
  type FloatTensor,
  type GptqWeight,
  type I32,
  type MappedTensorOptions,
  ops,
  type Tensor,
  type U8,
  type WeightBits,
} from "../../kernels/index.ts";
import {
  CheckpointError,
  type LinearShape,
  type QuantizationConfig,
  readTensorBytes,
  requireTensor,
} from "../checkpoint/index.ts";
import type { Weights } from "./weights.ts";

/** A quantized weight before it is packed; groups are numbered along the stored group axis. */
export type QuantizedWeight = {
  /** [out, in] */
  readonly codes: U8;
  /** [out, groups], already rounded to what they are stored as */
  readonly scales: F32;
  /** [out, groups] */
  readonly zeros: I32;
  /** The group of each input */
  readonly groupIndex: Int32Array<ArrayBuffer>;
};

/** v1 stores zero − 1, gptq_v2 the zero. */
export function zeroOffsetOf(format: QuantizationConfig["checkpointFormat"]): 0 | 1 {
  return format === "gptq" ? 1 : 0;
}

/**
 * The packed tensors of one linear as views of the checkpoint.
 *
 * @param name  the linear, such as transformer.h.0.attn.c_attn
 * @param config  as it is for this linear, from `settingsFor`
 * @throws CheckpointError CHECKPOINT_TENSOR for a missing tensor, a wrong shape or a group index out of range;
 *   CHECKPOINT_CONFIG where the stored zeros contradict the declared checkpoint_format
 */
export function decodeLinear(
  weights: Weights,
  name: string,
  shape: Omit<LinearShape, "part">,
  config: QuantizationConfig,
  options: MappedTensorOptions = {},
): {
  readonly weight: GptqWeight;
  readonly bias: FloatTensor | undefined;
  readonly groupIndex: Int32Array | undefined;
  /** The one zero of a symmetric weight, unless some differ */
  readonly zero: number | undefined;
} {
  const { inFeatures, outFeatures } = shape;
  const groupSize = config.groupSize === -1 ? inFeatures : config.groupSize;
  const groups = Math.ceil(inFeatures / groupSize);
  const zero = config.sym ? commonZero(weights, `${name}.qzeros`, config) : undefined;
  const groupIndex = readGroupIndex(weights, `${name}.g_idx`, { inFeatures, groupSize, groups });
  const int32 = (part: string, extents: readonly number[]) =>
    weights.int32(`${name}.${part}`, extents, options);
  const weight: GptqWeight = {
    qweight: int32("qweight", [(inFeatures * config.bits) / 32, outFeatures]),
    qzeros: int32("qzeros", [groups, (outFeatures * config.bits) / 32]),
    scales: weights.float(`${name}.scales`, [groups, outFeatures], options),
    groupIndex: groupIndex && weights.device.from("i32", groupIndex),
    bits: config.bits,
    zeroOffset: zeroOffsetOf(config.checkpointFormat),
    groupSize,
  };
  const hasBias = shape.hasBias || weights.has(`${name}.bias`);
  const bias = hasBias ? weights.float(`${name}.bias`, [outFeatures], options) : undefined;
  return { weight, bias, groupIndex, zero };
}

/** A packed weight, ready to compute with and to be written. Its tensors are the caller's. */
export type EncodedLinear = {
  readonly weight: GptqWeight;
  /** [out]; zeros where the model has none */
  readonly bias: FloatTensor;
  /** The stored tensors under the last part of their names, in the layout's order. */
  readonly tensors: readonly { readonly suffix: string; readonly tensor: Tensor }[];
};

/**
 * Packs a quantized weight, on the device.
 *
 * @param bias  [out], converted to the stored dtype; zeros if undefined, as in the official releases
 */
export function encodeLinear(
  quantized: QuantizedWeight,
  bias: FloatTensor | undefined,
  options: {
    readonly bits: WeightBits;
    readonly checkpointFormat: QuantizationConfig["checkpointFormat"];
    readonly dtype: "f16" | "bf16";
    /** Inputs per group */
    readonly groupSize: number;
    /** [2], see ops.cast */
    readonly castCounts: I32;
  },
): EncodedLinear {
  const { device } = quantized.codes;
  const { bits, dtype, groupSize } = options;
  const zeroOffset = zeroOffsetOf(options.checkpointFormat);
  const groupIndex = device.from("i32", quantized.groupIndex);
  const weight = {
    qweight: ops.packWeight(quantized.codes, bits),
    qzeros: ops.packZeros(quantized.zeros, bits, zeroOffset),
    scales: ops.transpose(quantized.scales, dtype),
    groupIndex,
    bits,
    zeroOffset,
    groupSize,
  };
  const storedBias =
    bias === undefined
      ? device.zeros(dtype, [quantized.codes.size(0)])
      : ops.cast(bias, dtype, options.castCounts);
  return {
    weight,
    bias: storedBias,
    tensors: [
      { suffix: "qweight", tensor: weight.qweight },
      { suffix: "qzeros", tensor: weight.qzeros },
      { suffix: "scales", tensor: weight.scales },
      { suffix: "g_idx", tensor: groupIndex },
      { suffix: "bias", tensor: storedBias },
    ],
  };
}

// Symmetric zeros are all (maxq + 1) / 2, so the stored words tell whether the declared format is right; read
// wrongly, a model turns out gibberish without any error. Some tools round a zero off its place, hence the undefined.
function commonZero(
  weights: Weights,
  name: string,
  config: QuantizationConfig,
): number | undefined {
  const entry = requireTensor(weights.checkpoint, name, { dtypes: ["I32"] });
  const words = new Uint32Array(readTensorBytes(entry).slice().buffer);
  const middle = 2 ** (config.bits - 1);
  const [v1, v2] = [repeatedCode(middle - 1, config.bits), repeatedCode(middle, config.bits)];
  const [expected, mistaken] = config.checkpointFormat === "gptq" ? [v1, v2] : [v2, v1];
  const isAll = (pattern: Uint32Array) =>
    words.every((word, i) => word === pattern[i % pattern.length]);
  if (words.length > 0 && isAll(mistaken)) {
    const declared = config.checkpointFormat;
    throw new CheckpointError(
      "CHECKPOINT_CONFIG",
      `${entry.file}: ${name} holds the zeros of ${declared === "gptq" ? "gptq_v2" : "gptq"}, ` +
        `but checkpoint_format says "${declared}"; correct checkpoint_format in quantize_config.json and config.json`,
    );
  }
  return isAll(expected) ? middle : undefined;
}

/** The words of a stream of the same code, as many as it takes until they repeat. */
function repeatedCode(code: number, bits: WeightBits): Uint32Array {
  const words = new Uint32Array(bits === 3 ? 3 : 1);
  for (let bit = 0; bit < 32 * words.length; bit++) {
    const isSet = (code >> (bit % bits)) & 1;
    words[bit >> 5] = (words[bit >> 5] ?? 0) | (isSet << (bit & 31));
  }
  return words;
}

// undefined where groups are consecutive, which kernels run without an index. All zeros with several groups is how
// some tools write "no act-order".
function readGroupIndex(
  weights: Weights,
  name: string,
  extent: { inFeatures: number; groupSize: number; groups: number },
): Int32Array<ArrayBuffer> | undefined {
  const { inFeatures, groupSize, groups } = extent;
  if (!weights.has(name)) return undefined;
  const entry = requireTensor(weights.checkpoint, name, { dtypes: ["I32"], shape: [inFeatures] });
  const index = new Int32Array(readTensorBytes(entry).slice().buffer);
  const outside = index.findIndex((group) => group < 0 || group >= groups);
  if (outside >= 0) {
    throw new CheckpointError(
      "CHECKPOINT_TENSOR",
      `${entry.file}: ${name}[${outside}] is ${index[outside]}; expected a group from 0 to ${groups - 1}`,
    );
  }
  const consecutive = index.every((group, i) => group === Math.floor(i / groupSize));
  return consecutive || index.every((group) => group === 0) ? undefined : index;
}
