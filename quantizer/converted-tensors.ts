// The tensors of a converted checkpoint, each with where its bytes come from; they are made when they are asked for.
import { type FloatTensor, type GptqWeight, ops, type WeightBits } from "../kernels/index.ts";
import {
  type Linear,
  type Model,
  peekBlock,
  type QuantizationConfig,
  readTensorBytes,
  type TensorEntry,
  type TensorSpec,
  zeroOffsetOf,
} from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";
import { requireFinite } from "./measure.ts";
import { bytesOf, rowParts } from "./publish.ts";
import type { ConversionReport } from "./report.ts";

export type ConvertedTensor = {
  readonly spec: TensorSpec;
  /** Its bytes, in parts that follow one another. */
  parts(): AsyncGenerator<Uint8Array>;
};

type FloatDtype = "bf16" | "f16" | "f32";
const storedNames = { bf16: "BF16", f16: "F16", f32: "F32" } as const;

/**
 * Every tensor of the checkpoint as it is, in its order; packed zeros as another format stores them, if one is given.
 *
 * @throws CheckpointError if a block cannot be loaded
 */
export function copiedTensors(
  model: Model,
  format: QuantizationConfig["checkpointFormat"] | undefined,
): readonly ConvertedTensor[] {
  const { tensors } = model.checkpoint;
  const sourceFormat = model.quantization?.checkpointFormat;
  const floats = model.tensorShapes();
  const bits = new Map<string, GptqWeight["bits"]>();
  for (const { name, linear } of everyLinear(model)) {
    if (linear.stored !== undefined) bits.set(`${name}.qzeros`, linear.stored.bits);
  }
  return [...tensors.values()].map((entry): ConvertedTensor => {
    const zeroBits = bits.get(entry.name);
    if (format !== undefined && format !== sourceFormat && zeroBits !== undefined) {
      return { spec: entry, parts: () => convertedZeros(model, entry, { bits: zeroBits, format }) };
    }
    const isFloat = floats.has(entry.name);
    return {
      spec: entry,
      parts: () => (isFloat ? storedFloats(model, entry.name) : wholeTensor(entry)),
    };
  });
}

/**
 * Every tensor of the float model, in the order in which it is written.
 *
 * @param onLoss  told of a tensor with values that the dtype cannot hold
 * @returns also the names of biases that a quantized checkpoint carries though the model has none
 * @throws QuantizeError QUANTIZE_SOURCE if such a bias is not zero; CheckpointError if a block cannot be loaded
 */
export async function floatTensors(
  model: Model,
  dtype: FloatDtype,
  onLoss: (report: ConversionReport) => void,
): Promise<{ tensors: readonly ConvertedTensor[]; droppedBiases: readonly string[] }> {
  const shapes = model.tensorShapes();
  const packed = new Map<string, { readonly block: number; readonly part: string }>();
  const droppedBiases: string[] = [];
  for (const { name, linear, block, part } of everyLinear(model)) {
    if (linear.stored !== undefined) packed.set(`${name}.weight`, { block, part });
    if (linear.bias === undefined || shapes.has(`${name}.bias`)) continue;
    await requireZeros(linear.bias, `${name}.bias`);
    droppedBiases.push(`${name}.bias`);
  }
  const tensors = [...shapes].map(([name, shape]): ConvertedTensor => {
    const place = packed.get(name);
    return {
      spec: { name, dtype: storedNames[dtype], shape },
      parts: async function* () {
        using tensor =
          place === undefined ? model.tensor(name) : dequantized(model, place.block, place.part);
        yield* castParts(tensor, name, dtype, onLoss);
        if (place !== undefined) model.evict(name.replace(/weight$/, ""));
      },
    };
  });
  return { tensors, droppedBiases };
}

/** Each is only valid until the next is asked for. */
function* everyLinear(model: Model): Generator<{
  readonly name: string;
  readonly linear: Linear;
  readonly block: number;
  readonly part: string;
}> {
  for (let index = 0; index < model.shape.layers; index++) {
    using block = peekBlock(model, index);
    for (const part of block.stages.flatMap(({ linears }) => linears)) {
      yield { name: `${block.name}.${part}`, linear: block.linear(part), block: index, part };
    }
  }
}

function dequantized(model: Model, index: number, part: string): FloatTensor {
  using block = model.loadBlock(index);
  const { stored } = block.linear(part);
  if (stored === undefined) throw new RangeError(`${block.name}.${part} is not quantized`);
  return ops.dequantize(stored);
}

async function* castParts(
  tensor: FloatTensor,
  name: string,
  dtype: FloatDtype,
  onLoss: (report: ConversionReport) => void,
): AsyncGenerator<Uint8Array> {
  await requireFinite(tensor, name);
  using counts = tensor.device.zeros("i32", [2]);
  for (const view of rowParts(tensor)) {
    using part = view;
    using converted = ops.cast(part, dtype, counts);
    yield bytesOf(await converted.read());
  }
  const [overflowed = 0, flushed = 0] = await counts.read();
  if (overflowed + flushed > 0) onLoss({ name, overflowed, flushed });
}

async function* storedFloats(model: Model, name: string): AsyncGenerator<Uint8Array> {
  using tensor = model.tensor(name);
  await requireFinite(tensor, name);
  for (const view of rowParts(tensor)) {
    using part = view;
    yield bytesOf(await part.read());
  }
}

/** For packed tensors, none of which is larger than a linear. */
async function* wholeTensor(entry: TensorEntry): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(readTensorBytes(entry));
}

/** @throws QuantizeError QUANTIZE_SOURCE if the format cannot express one of them */
async function* convertedZeros(
  model: Model,
  entry: TensorEntry,
  {
    bits,
    format,
  }: { readonly bits: WeightBits; readonly format: QuantizationConfig["checkpointFormat"] },
): AsyncGenerator<Uint8Array> {
  const words = new Int32Array(readTensorBytes(entry).slice().buffer);
  using stored = model.device.from("i32", words, entry.shape);
  const sourceFormat = model.quantization?.checkpointFormat ?? format;
  using zeros = ops.unpackZeros(stored, bits, zeroOffsetOf(sourceFormat));
  const offset = zeroOffsetOf(format);
  // Readers of v1 disagree about what a zero of 0 wraps around to.
  if ((await zeros.read()).some((zero) => zero < offset)) {
    throw new QuantizeError(
      "QUANTIZE_SOURCE",
      `${entry.file}: ${entry.name} holds a zero of 0, and ${format} stores the zero minus one; ` +
        `this model can only be stored as ${sourceFormat}`,
    );
  }
  using packed = ops.packZeros(zeros, bits, offset);
  yield bytesOf(await packed.read());
}

async function requireZeros(bias: FloatTensor, name: string): Promise<void> {
  using counts = bias.device.zeros("i32", [2]);
  using values = ops.cast(bias, "f32", counts);
  if ((await values.read()).every((value) => value === 0)) return;
  throw new QuantizeError(
    "QUANTIZE_SOURCE",
    `${name} is not zero, but by config.json (no_bias) the float model has no such bias; it cannot be left out`,
  );
}
