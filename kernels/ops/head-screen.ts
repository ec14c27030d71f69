import { call } from "../native.ts";
import { emptyPacked, nativeWeight, type PackedWeight, quantizedLinear } from "./packed-linear.ts";
import type { F32, FloatTensor, I32 } from "./types.ts";

/** A weight of 8 bits that tells which rows of the exact one have to be computed. */
export type HeadScreen = {
  readonly packed: PackedWeight;
  /** [out]: the products of both weights with x differ by at most ‖x‖ · slack */
  readonly slack: F32;
};

const blockSize = 128;

/** Rounds a float weight [out, in] to 8 bits, symmetric, with a scale per 128 inputs. */
export function packRows(weight: FloatTensor): HeadScreen {
  const { device } = weight;
  const [outFeatures, inFeatures] = [weight.size(0), weight.size(1)];
  const blocks = Math.ceil(inFeatures / blockSize);
  const [bits, order] = [8, undefined] as const;
  const layout = { inFeatures, bits, blockSize, blocks, order, places: order };
  const packed = emptyPacked(device, { layout, outFeatures, dtype: "bf16", zero: 128 });
  const slack = device.empty("f32", [outFeatures]);
  call((addon) =>
    addon.packRows(device.handle, weight.handle, ...nativeWeight(packed), slack.handle),
  );
  return { packed, slack };
}

/**
 * argmax(linear(x, weight), limit) without computing every row of it: the same index, proved by bounds.
 *
 * @param x       [rows, in]
 * @param weight  [out, in], what the screen was made of
 * @returns both [rows]: the index, and how many rows of the weight had to be computed
 */
export function screenedArgmax(
  x: F32,
  weight: FloatTensor,
  { packed, slack }: HeadScreen,
  limit: number,
): { readonly index: I32; readonly scored: I32 } {
  const { device } = x;
  const rows = x.size(0);
  const [index, scored] = [device.empty("i32", [rows]), device.empty("i32", [rows])];
  using approx = quantizedLinear(x, packed);
  call((addon) =>
    addon.screenedArgmax(
      ...([device.handle, x.handle, approx.handle, weight.handle, slack.handle] as const),
      ...([limit, index.handle, scored.handle] as const),
    ),
  );
  return { index, scored };
}
