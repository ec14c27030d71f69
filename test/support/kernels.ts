import { fileURLToPath } from "node:url";
import {
  type CudaOptions,
  candidates,
  type Device,
  detectedIsa,
  type Isa,
  isaLevels,
  openCudaDevice,
  openDevice,
} from "../../kernels/index.ts";

const present = isaLevels.slice(0, isaLevels.indexOf(detectedIsa()) + 1);

/** The general levels this machine can run, the plain reference ("scalar") first. */
export const runnableIsas: readonly Isa[] = present.filter((level) => !level.startsWith("avx512-"));

/** CUDA kernels run on the processor (kernels/src/cuda/emulation.h), or on the GPU where NIBBLE_TEST_CUDA is set. */
export type Implementation = Isa | "cuda";

/** What an operation that has CUDA kernels is tested on. */
export const implementations: readonly Implementation[] = [...runnableIsas, "cuda"];

/** NIBBLE_TEST_EMULATED names a build with sanitizers. */
export const emulatedLibrary: string = fileURLToPath(
  new URL(
    `../../build/${process.env["NIBBLE_TEST_EMULATED"] ?? "emulated"}/nibble_cuda_emulated.so`,
    import.meta.url,
  ),
);

export const isOnGpu: boolean = process.env["NIBBLE_TEST_CUDA"] === "gpu";

export type ImplementationOptions = {
  readonly threads?: number;
  /** Of the emulated GPU; a real one has its machine's own. */
  readonly vendor?: Pick<CudaOptions, "cublasLt" | "cusolver">;
};

/** A device of one implementation. */
export function openImplementation(
  implementation: Implementation,
  { vendor, ...options }: ImplementationOptions = {},
): Device {
  if (implementation !== "cuda") return openDevice({ threads: 2, ...options, isa: implementation });
  return openCudaDevice(isOnGpu ? {} : { library: emulatedLibrary, ...vendor });
}

/** The levels this machine can run that an operation has an implementation for, the plain reference first. */
export function levelsOf(operation: string): readonly Isa[] {
  const listed = candidates().find((each) => each.operation === operation)?.candidates ?? [];
  return present.filter((level) => listed.some(({ needs }) => needs === level));
}

/** Runs `body` on a device of its own and waits for what it enqueued. */
export async function withDevice<R>(
  { isa, ...options }: ImplementationOptions & { readonly isa: Implementation },
  body: (device: Device) => Promise<R>,
): Promise<R> {
  using device = openImplementation(isa, options);
  const result = await body(device);
  await device.sync();
  return result;
}

/** f32 values as the bits of bf16, rounded to nearest even. */
export function toBf16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);
}

export function fromBf16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const wide = Uint32Array.from(bits, (b) => b << 16);
  return new Float32Array(wide.buffer);
}

/** Bits of an IEEE binary16 to the number they stand for. */
export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** To the nearest binary16, ties to even. */
export function numberToF16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(magnitude || 2 ** -24)), -14);
  const units = magnitude / 2 ** (exponent - 10);
  const floor = Math.floor(units);
  const rest = units - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
  const mantissa = floor + (up ? 1 : 0);
  // A mantissa of 2048 carries into the exponent, one below 1024 is subnormal: both add up right.
  return sign | ((exponent + 14) * 1024 + mantissa);
}
