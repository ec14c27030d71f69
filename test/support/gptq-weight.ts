import type { Device, F32, GptqWeight, WeightBits } from "../../kernels/index.ts";
import { integers, normal } from "./random.ts";
import { type StoredDType, stored } from "./stored.ts";

export type GptqShape = {
  readonly in: number;
  readonly out: number;
  readonly bits: WeightBits;
  readonly zeroOffset: 0 | 1;
  readonly groupSize: number;
  readonly scaleDtype: StoredDType;
  /** Whether every input gets a random group */
  readonly scattered: boolean;
};

export const plainGptqShape: GptqShape = {
  in: 64,
  out: 16,
  bits: 4,
  zeroOffset: 1,
  groupSize: 32,
  scaleDtype: "f16",
  scattered: false,
};

/** What differs from the plain shape, and how many rows it is multiplied with. */
export type GptqCase = Partial<GptqShape> & { readonly rows: number };

/**
 * Around vectors (8, 16), strips (16, 64), blocks of inputs (128, 256) and tasks (96 rows; 64, 128 outputs); groups that end
 * inside a word or fill no block, short last groups, one group, groups in any order.
 */
export const gptqCases: readonly GptqCase[] = [
  { rows: 1, in: 8, out: 8, groupSize: 8 },
  { rows: 1, in: 264, out: 136, groupSize: 128 },
  { rows: 2, in: 256, out: 24, groupSize: 10, scaleDtype: "bf16" },
  { rows: 3, in: 520, out: 200, groupSize: 520, zeroOffset: 0 },
  { rows: 4, in: 96, out: 128, groupSize: 36, scaleDtype: "f32" },
  { rows: 5, in: 40, out: 264, groupSize: 16, scattered: true },
  { rows: 8, in: 16, out: 120, groupSize: 1 },
  { rows: 9, in: 256, out: 8, groupSize: 64, scattered: true, scaleDtype: "bf16" },
  { rows: 17, in: 264, out: 72, groupSize: 7, zeroOffset: 0 },
  { rows: 97, in: 520, out: 136, groupSize: 128, scattered: true },
  { rows: 130, in: 72, out: 136, groupSize: 64 },
  { rows: 18, in: 264, out: 40, groupSize: 32, scaleDtype: "f32" },
  { rows: 1, bits: 8, in: 4, out: 4, groupSize: 4 },
  { rows: 1, bits: 8, in: 260, out: 132, groupSize: 64, scaleDtype: "f32" },
  { rows: 4, bits: 8, in: 36, out: 20, groupSize: 6, scattered: true },
  { rows: 7, bits: 8, in: 256, out: 64, groupSize: 256, zeroOffset: 0, scaleDtype: "bf16" },
  { rows: 12, bits: 8, in: 516, out: 140, groupSize: 100, scattered: true },
  { rows: 100, bits: 8, in: 72, out: 12, groupSize: 30 },
];

/** [rows, width], with a few values far larger than the others. */
export function randomActivations(
  device: Device,
  rows: number,
  width: number,
  random: () => number,
): F32 {
  return device.from("f32", normal(rows * width, random, { heavy: true }), [rows, width]);
}

/** Packs values of `bits` bits along the first of two dimensions [extent, columns], lowest bits first. */
export function packRows(
  values: ArrayLike<number>,
  columns: number,
  bits: WeightBits,
): Int32Array<ArrayBuffer> {
  const words = new Int32Array((values.length * bits) / 32);
  for (let i = 0; i < values.length; i++) {
    const first = Math.floor(i / columns) * bits;
    for (let k = 0; k < bits; k++) {
      const bit = first + k;
      const at = Math.floor(bit / 32) * columns + (i % columns);
      words[at] = words[at]! | (((values[i]! >> k) & 1) << (bit % 32));
    }
  }
  return words;
}

/** A random weight in the GPTQ layout and the numbers [out, in] it stands for, straight from the definition. */
export function randomGptqWeight(
  device: Device,
  shape: GptqShape,
  random: () => number,
): { readonly weight: GptqWeight; readonly values: Float32Array<ArrayBuffer> } {
  const { in: inputs, out, bits, zeroOffset, groupSize } = shape;
  const levels = 2 ** bits;
  const groups = Math.ceil(inputs / groupSize);
  const codes = integers(inputs * out, levels, random); // [in, out]
  const storedZeros = integers(groups * out, levels, random); // [groups, out]
  const scales = stored(device, shape.scaleDtype, normal(groups * out, random, { scale: 0.02 }), [
    groups,
    out,
  ]);
  const groupOf = shape.scattered
    ? integers(inputs, groups, random)
    : Int32Array.from({ length: inputs }, (_, i) => Math.floor(i / groupSize));
  const values = new Float32Array(out * inputs);
  for (let i = 0; i < inputs; i++) {
    for (let o = 0; o < out; o++) {
      const at = groupOf[i]! * out + o;
      const zero = (storedZeros[at]! + zeroOffset) % levels;
      values[o * inputs + i] = scales.values[at]! * (codes[i * out + o]! - zero);
    }
  }
  const weight = {
    qweight: device.from("i32", packRows(codes, out, bits), [(inputs * bits) / 32, out]),
    qzeros: device.from("i32", packRows(storedZeros, 1, bits), [groups, (out * bits) / 32]),
    scales: scales.tensor,
    groupIndex: shape.scattered ? device.from("i32", groupOf) : undefined,
    bits,
    zeroOffset,
    groupSize,
  };
  return { weight, values };
}
