// What the machine delivers at this moment; nothing here computes with data.
import type { Device } from "../device.ts";
import { call } from "../native.ts";
import type { F32, I32, U8 } from "./types.ts";

export const peakKinds = ["f32", "bf16", "int16", "int8"] as const;
/** Multiply-adds of f32; of bf16 in pairs, summed in f32; of 16-bit pairs or four 8-bit integers, summed in 32 bits. */
export type PeakKind = (typeof peakKinds)[number];

/** Reads all of x once, in pieces that threads take in turn. @param x  [n] @returns [1], of no use */
export function readAll(x: U8, pieces: number): I32 {
  const y = x.device.empty("i32", [1]);
  call((addon) => addon.readAll(x.device.handle, x.handle, pieces, y.handle));
  return y;
}

/** Multiply-adds in registers on every thread. @returns [1]: millions of them, 0 without such an instruction */
export function arithmeticPeak(device: Device, kind: PeakKind, repeats: number): F32 {
  const y = device.empty("f32", [1]);
  call((addon) => addon.arithmeticPeak(device.handle, peakKinds.indexOf(kind), repeats, y.handle));
  return y;
}
