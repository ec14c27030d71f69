import { KernelError } from "../errors.ts";
import { call } from "../native.ts";
import type { Tensor } from "../tensor.ts";
import type { GptqWeight, WeightBits } from "./linear.ts";
import type { F32, FloatTensor, I32, U8 } from "./types.ts";

function perWord(bits: number, extent: number): number {
  const words = (extent * bits) / 32;
  if (!Number.isInteger(words)) {
    throw new KernelError(
      "KERNEL_SHAPE",
      `${extent} codes of ${bits} bits do not fill 32-bit words`,
    );
  }
  return words;
}

/** Codes [out, in] to qweight [in · bits / 32, out]. */
export function packWeight(codes: U8, bits: WeightBits): I32 {
  const y = codes.device.empty("i32", [perWord(bits, codes.size(1)), codes.size(0)]);
  call((addon) => addon.packWeight(y.device.handle, codes.handle, bits, y.handle));
  return y;
}

/** The inverse of packWeight. */
export function unpackWeight(qweight: I32, bits: WeightBits): U8 {
  const y = qweight.device.empty("u8", [qweight.size(1), (qweight.size(0) * 32) / bits]);
  call((addon) => addon.unpackWeight(y.device.handle, qweight.handle, bits, y.handle));
  return y;
}

/** Zeros [out, groups] to qzeros [groups, out · bits / 32], stored minus `zeroOffset`. */
export function packZeros(zeros: I32, bits: WeightBits, zeroOffset: 0 | 1): I32 {
  const y = zeros.device.empty("i32", [zeros.size(1), perWord(bits, zeros.size(0))]);
  call((addon) => addon.packZeros(y.device.handle, zeros.handle, bits, zeroOffset, y.handle));
  return y;
}

/** The inverse of packZeros. */
export function unpackZeros(qzeros: I32, bits: WeightBits, zeroOffset: 0 | 1): I32 {
  const y = qzeros.device.empty("i32", [(qzeros.size(1) * 32) / bits, qzeros.size(0)]);
  call((addon) => addon.unpackZeros(y.device.handle, qzeros.handle, bits, zeroOffset, y.handle));
  return y;
}

/** x [rows, columns] transposed and rounded to `dtype`: [columns, rows]. */
export function transpose<T extends "f32" | "f16" | "bf16">(x: FloatTensor, dtype: T): Tensor<T> {
  const y = x.device.empty(dtype, [x.size(1), x.size(0)]);
  call((addon) => addon.transpose(y.device.handle, x.handle, y.handle));
  return y;
}

/** The weight [out, in] that packed tensors stand for, exact in f32. */
export function dequantize(weight: GptqWeight): F32 {
  const { qweight, bits } = weight;
  const y = qweight.device.empty("f32", [qweight.size(1), (qweight.size(0) * 32) / bits]);
  call((addon) =>
    addon.dequantize(
      y.device.handle,
      qweight.handle,
      weight.qzeros.handle,
      weight.scales.handle,
      weight.groupIndex?.handle ?? null,
      bits,
      weight.zeroOffset,
      weight.groupSize,
      y.handle,
    ),
  );
  return y;
}
