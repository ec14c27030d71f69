import { KernelError } from "../errors.ts";
import { call } from "../native.ts";
import type { F32, U8 } from "./types.ts";

/**
 * "token": a grid for each row and head, to the nearest code, as an 8-bit cache has it. "call": the original Qwen code's,
 * one grid per head for all rows of the call, codes cut off.
 */
export type CacheForm = "token" | "call";

/** Keys or values as codes: scale · (code − zero). */
export type QuantizedCache = {
  /** [rows, heads · dim] */
  readonly codes: U8;
  /** [rows, heads] */
  readonly scale: F32;
  /** [rows, heads] */
  readonly zero: F32;
};

/**
 * Keys or values [rows, heads · dim] as codes. A row (or a head, per call) that is not finite gets NaN for scale and zero.
 *
 * @param options.form  "token" by default
 */
export function quantizeCache(
  x: F32,
  { heads, form = "token" }: { readonly heads: number; readonly form?: CacheForm },
): QuantizedCache {
  const [rows, width] = [x.size(0), x.size(1)];
  if (!Number.isInteger(heads) || heads < 1 || width % heads !== 0) {
    throw new KernelError(
      "KERNEL_SHAPE",
      `quantizeCache: [${x.shape}] has no ${heads} heads of one width`,
    );
  }
  const codes = x.device.empty("u8", [rows, width]);
  const scale = x.device.empty("f32", [rows, heads]);
  const zero = x.device.empty("f32", [rows, heads]);
  call((addon) =>
    addon.quantizeCache(
      x.device.handle,
      x.handle,
      form === "call",
      codes.handle,
      scale.handle,
      zero.handle,
    ),
  );
  return { codes, scale, zero };
}

/** What codes stand for, [rows, heads · dim]. */
export function dequantizeCache({ codes, scale, zero }: QuantizedCache): F32 {
  const y = codes.device.empty("f32", codes.shape);
  call((addon) =>
    addon.dequantizeCache(codes.device.handle, codes.handle, scale.handle, zero.handle, y.handle),
  );
  return y;
}
