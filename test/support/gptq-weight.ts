import type { Device, GptqWeight } from "../../kernels/index.ts";
import { integers, normal } from "./random.ts";
import { type StoredDType, stored } from "./stored.ts";

export type GptqShape = {
  readonly in: number;
  readonly out: number;
  readonly bits: 4 | 8;
  readonly zeroOffset: 0 | 1;
  readonly groupSize: number;
  readonly scaleDtype: StoredDType;
  /** Whether every input gets a random group */
  readonly scattered: boolean;
};

/** Packs values of `bits` bits along the first of two dimensions [extent, columns], lowest bits first. */
export function packRows(
  values: ArrayLike<number>,
  columns: number,
  bits: 4 | 8,
): Int32Array<ArrayBuffer> {
  const perWord = 32 / bits;
  const words = new Int32Array(values.length / perWord);
  for (let i = 0; i < values.length; i++) {
    const row = Math.floor(i / columns);
    const at = Math.floor(row / perWord) * columns + (i % columns);
    words[at] = words[at]! | (values[i]! << ((row % perWord) * bits));
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
