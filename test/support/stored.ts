import type { Device, FloatTensor } from "../../kernels/index.ts";
import { f16ToNumber, fromBf16, numberToF16, toBf16 } from "./kernels.ts";

export type StoredDType = "f32" | "f16" | "bf16";
/** A float tensor on a device and the numbers it holds after rounding to its dtype. */
export type Stored = { readonly tensor: FloatTensor; readonly values: Float32Array<ArrayBuffer> };

export function stored(
  device: Device,
  dtype: StoredDType,
  values: Float32Array<ArrayBuffer>,
  shape: readonly number[] = [values.length],
): Stored {
  switch (dtype) {
    case "f32":
      return { tensor: device.from("f32", values, shape), values };
    case "bf16": {
      const bits = toBf16(values);
      return { tensor: device.from("bf16", bits, shape), values: fromBf16(bits) };
    }
    case "f16": {
      const bits = Uint16Array.from(values, numberToF16);
      return {
        tensor: device.from("f16", bits, shape),
        values: Float32Array.from(bits, f16ToNumber),
      };
    }
    default:
      return dtype satisfies never;
  }
}
