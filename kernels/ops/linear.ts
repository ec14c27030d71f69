import { call } from "../native.ts";
import type { F32, FloatTensor, I32 } from "./types.ts";

/** Bits of a code in a GPTQ checkpoint. */
export const weightBits = [2, 3, 4, 8] as const;
export type WeightBits = (typeof weightBits)[number];

/** A weight [out, in] as GPTQ checkpoints store it: scale · (code − zero) per group of inputs. */
export type GptqWeight = {
  /** [in · bits / 32, out], codes of consecutive inputs from the lowest bits up */
  readonly qweight: I32;
  /** [groups, out · bits / 32], zeros minus `zeroOffset` of consecutive outputs */
  readonly qzeros: I32;
  /** [groups, out] */
  readonly scales: FloatTensor;
  /** [in], the group of each input; undefined where that is floor(input / groupSize) */
  readonly groupIndex: I32 | undefined;
  readonly bits: WeightBits;
  /** 1 in the v1 layout, 0 in gptq_v2 */
  readonly zeroOffset: 0 | 1;
  /** Inputs per group */
  readonly groupSize: number;
};

/**
 * x · weightᵀ + bias, accumulated in f32. A row's bits do not depend on the other rows.
 *
 * @param x       [rows, in]
 * @param weight  [out, in]
 * @param bias    [out]
 * @returns [rows, out]
 */
export function linear(x: F32, weight: FloatTensor, bias?: FloatTensor): F32 {
  const y = x.device.empty("f32", [x.size(0), weight.size(0)]);
  const biasHandle = bias?.handle ?? null;
  call((addon) => addon.linear(x.device.handle, x.handle, weight.handle, biasHandle, y.handle));
  return y;
}

/**
 * x · Wᵀ + bias over a weight in the GPTQ layout, accumulated in f32. A row's bits do not depend on
 * the other rows.
 *
 * @param x     [rows, in]
 * @param bias  [out]
 * @returns [rows, out]
 */
export function linearGptq(x: F32, weight: GptqWeight, bias?: FloatTensor): F32 {
  const y = x.device.empty("f32", [x.size(0), weight.qweight.size(1)]);
  call((addon) =>
    addon.linearGptq(
      x.device.handle,
      x.handle,
      weight.qweight.handle,
      weight.qzeros.handle,
      weight.scales.handle,
      weight.groupIndex?.handle ?? null,
      bias?.handle ?? null,
      weight.bits,
      weight.zeroOffset,
      weight.groupSize,
      y.handle,
    ),
  );
  return y;
}
