// Whether a quantized checkpoint holds the weights of the model it is said to be made of.

import { type Device, type FloatTensor, type GptqWeight, ops } from "../../kernels/index.ts";
import {
  type Checkpoint,
  CheckpointError,
  openCheckpoint,
  parseQwenConfig,
  type QwenConfig,
  qwenBlockLinears,
  readQuantizationConfig,
  settingsFor,
} from "../checkpoint/index.ts";
import { decodeLinear } from "./gptq-format.ts";
import { Weights } from "./weights.ts";

export type LinearComparison = {
  /** Such as transformer.h.0.attn.c_attn. */
  readonly name: string;
  /** ‖quantized − source‖ / ‖source‖, over the sampled outputs. */
  readonly relativeError: number;
  /** Root mean square error in units of the scale; rounding alone gives 1/√12 = 0.29. */
  readonly errorInSteps: number;
  readonly isPlausible: boolean;
};

/**
 * Rounding errs by at most half a step; GPTQ moves weights further, to 0.32 … 0.57 in AutoGPTQ's int4 and int8
 * of the bundled model, and GPTAQ by several steps of 8 bits. Zeros that are off by one give 1.04 or more, another model's weights
 * several.
 */
const plausibleSteps = 0.9;

/** What more steps than that may be by: a calibrated change is small beside the weight, and no shift, as a wrong zero is. */
const plausibleChange = { relativeError: 0.5, shift: 0.5 } as const;

/** Outputs per linear that are compared. */
const sampledRows = 64;

/**
 * Dequantizes the linears of every block and compares them with the float model's, on a sample of outputs each. Linears that stayed float are left out.
 *
 * @throws CheckpointError CHECKPOINT_CONFIG if the two are not of the same shape, CHECKPOINT_UNSUPPORTED if the first
 *   is not quantized or the second is, and everything that opening either throws
 */
export async function compareWithSource(
  dir: string,
  sourceDir: string,
  device: Device,
): Promise<readonly LinearComparison[]> {
  const [checkpoint, source] = [openCheckpoint(dir), openCheckpoint(sourceDir)];
  const quantization = readQuantizationConfig(checkpoint.dir, checkpoint.config);
  if (quantization === undefined) throw wrongRole(checkpoint.dir, "is not quantized");
  if (readQuantizationConfig(source.dir, source.config) !== undefined) {
    throw wrongRole(source.dir, "is quantized; the source is the float model");
  }
  const shape = requireSameShape(checkpoint, source);
  using weights = new Weights(checkpoint, device, undefined);
  using sourceWeights = new Weights(source, device, undefined);
  const comparisons: LinearComparison[] = [];
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const linear of qwenBlockLinears(shape)) {
      const name = `transformer.h.${layer}.${linear.part}`;
      const settings = settingsFor(quantization, name);
      if (settings === undefined || weights.has(`${name}.weight`)) continue;
      const { weight, bias } = decodeLinear(weights, name, linear, settings);
      using original = sourceWeights.float(`${name}.weight`, [
        linear.outFeatures,
        linear.inFeatures,
      ]);
      // One after the other: only one linear's floats are in memory.
      comparisons.push({ name, ...(await compareLinear(weight, original)) });
      for (const tensor of [
        weight.qweight,
        weight.qzeros,
        weight.scales,
        weight.groupIndex,
        bias,
      ]) {
        tensor?.[Symbol.dispose]();
      }
      weights.evict(`${name}.`);
      sourceWeights.evict(`${name}.`);
    }
  }
  return comparisons;
}

async function compareLinear(
  weight: GptqWeight,
  original: FloatTensor,
): Promise<Omit<LinearComparison, "name">> {
  const { device } = original;
  const outputs = original.size(0);
  const count = Math.min(sampledRows, outputs);
  const rows = Int32Array.from({ length: count }, (_, i) => Math.floor((i * outputs) / count));
  using index = device.from("i32", rows);
  using counts = device.zeros("i32", [2]);
  using dequantized = ops.dequantize(weight);
  using approximate = ops.gatherRows(dequantized, index);
  using stored = ops.gatherRows(original, index);
  using exact = ops.cast(stored, "f32", counts);
  using allScales = ops.cast(weight.scales, "f32", counts);
  using scales = ops.gatherColumns(allScales, index);
  const [a, b] = [await approximate.read(), await exact.read()];
  const difference = b.map((value, i) => value - (a[i] ?? Number.NaN));
  const error = Math.sqrt(sumOfSquares(difference));
  const steps = await scales.read();
  // Every group has the same number of inputs, so their scales weigh the same.
  const errorInSteps = error / Math.sqrt(sumOfSquares(steps) * weight.groupSize);
  const relativeError = error / Math.sqrt(sumOfSquares(b));
  const shift = meanShift(difference, steps, { weight, groups: await weight.groupIndex?.read() });
  const isChange =
    relativeError < plausibleChange.relativeError && Math.abs(shift) < plausibleChange.shift;
  return {
    ...{ relativeError, errorInSteps },
    isPlausible: errorInSteps <= plausibleSteps || isChange,
  };
}

/**
 * The mean of errors in steps of their groups: ±1 for zeros that are off by one.
 *
 * @param difference  [rows, in]
 * @param steps       [groups, rows]
 */
function meanShift(
  difference: Float32Array,
  steps: Float32Array,
  { weight, groups }: { readonly weight: GptqWeight; readonly groups: Int32Array | undefined },
): number {
  const rows = steps.length / weight.scales.size(0);
  const inputs = difference.length / rows;
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < inputs; j++) {
      const group = groups?.[j] ?? Math.floor(j / weight.groupSize);
      const step = steps[group * rows + row] ?? Number.NaN;
      sum += (difference[row * inputs + j] ?? Number.NaN) / step;
    }
  }
  return sum / difference.length;
}

function sumOfSquares(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}

function requireSameShape(checkpoint: Checkpoint, source: Checkpoint): QwenConfig {
  const shape = parseQwenConfig(checkpoint.config, `${checkpoint.dir}/config.json`);
  const other = parseQwenConfig(source.config, `${source.dir}/config.json`);
  for (const field of ["layers", "hiddenSize", "ffnSize", "heads", "vocabSize"] as const) {
    if (shape[field] === other[field]) continue;
    throw new CheckpointError(
      "CHECKPOINT_CONFIG",
      `${source.dir}: ${field} is ${other[field]}, but ${shape[field]} in ${checkpoint.dir}; these are different models`,
    );
  }
  return shape;
}

function wrongRole(dir: string, problem: string): CheckpointError {
  return new CheckpointError("CHECKPOINT_UNSUPPORTED", `${dir}: this model ${problem}`);
}
