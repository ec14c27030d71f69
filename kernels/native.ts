// The whole native surface as one type, and the only place that loads it. C++ side: src/binding.
import { createRequire } from "node:module";
import { addonPath } from "./addon-path.ts";
import type { DType } from "./dtype.ts";
import { KernelError, type KernelErrorCode } from "./errors.ts";

declare const brand: unique symbol;
export type NativeDevice = { readonly [brand]: "device" };
export type NativeTensor = { readonly [brand]: "tensor" };
export type NativeGraph = { readonly [brand]: "graph" };
export type NativeFile = { readonly [brand]: "file" };

type D = NativeDevice;
type T = NativeTensor;
type Optional = NativeTensor | null;
/** bits, symmetric, keepsPositiveRange, isSigned, scale dtype, minimizesError */
export type NativeGrid = readonly [number, boolean, boolean, boolean, DType, boolean];

/** words, scales, zeros, the zero without them, bits, inputs per block */
export type NativePackedWeight = readonly [
  ...[words: T, scales: T, zeros: Optional],
  ...[zero: number, bits: number, blockSize: number],
];
/** x, the order of its inputs, what it is normalised by, bits that it is rounded to */
export type NativeLinearInput = readonly [
  ...[x: T, order: Optional, norm: Optional, epsilon: number, activationBits: number],
];
export type Native = {
  openDevice(threads: number, isa: string): D;
  openCudaDevice(library: string, index: number, cublasLt: string, cusolver: string): D;
  /** name, bytes of memory, compute capability, multiprocessors */
  cudaDevices(library: string): readonly (readonly [string, number, string, number])[];
  vendorLibraries(device: D): string;
  closeDevice(device: D): void;
  detectedIsa(): string;
  cpuFeatures(): readonly string[];
  /** operation, implementation, level it needs */
  candidates(): readonly (readonly [string, string, string])[];
  /** live, cached and peak bytes */
  memory(device: D, resetPeak: boolean): Float64Array;
  allocate(device: D, dtype: DType, shape: Float64Array): T;
  clear(tensor: T): void;
  narrow(tensor: T, dimension: number, start: number, length: number): T;
  reshape(tensor: T, shape: Float64Array): T;
  dispose(tensor: T): void;
  mapFile(path: string): NativeFile;
  unmapFile(file: NativeFile): void;
  mapTensor(
    ...args: [
      ...[device: D, file: NativeFile, offset: number, dtype: DType, shape: Float64Array],
      ...[staysOnHost: boolean, isPrefetched: boolean],
    ]
  ): T;
  evict(device: D, file: NativeFile, offset: number, bytes: number): void;
  write(tensor: T, bytes: ArrayBufferView): void;
  sync(device: D): Promise<void>;
  read(device: D, tensor: T): Promise<ArrayBuffer>;

  beginCapture(device: D): void;
  endCapture(device: D): NativeGraph;
  replay(graph: NativeGraph): void;
  disposeGraph(graph: NativeGraph): void;

  embedding(d: D, table: T, ids: T, y: T): void;
  rmsNorm(d: D, x: T, weight: T, epsilon: number, y: T): void;
  linear(d: D, x: T, weight: T, bias: Optional, y: T): void;
  linearGptq(
    ...args: [
      ...[d: D, x: T, qweight: T, qzeros: T, scales: T, groupIndex: Optional, bias: Optional],
      ...[bits: number, zeroOffset: number, groupSize: number, y: T],
    ]
  ): void;
  packLinear(
    ...args: [
      ...[d: D, qweight: T, qzeros: T, scales: T, order: Optional, blockGroup: T],
      ...[storedBits: number, zeroOffset: number, ...NativePackedWeight],
    ]
  ): void;
  quantizedLinear(
    ...args: [
      ...[d: D, ...NativeLinearInput],
      ...[...NativePackedWeight, bias: Optional],
      ...[residual: Optional, y: T],
    ]
  ): void;
  gatedLinear(
    ...args: [
      ...[d: D, ...NativeLinearInput],
      ...[...NativePackedWeight, upBias: Optional],
      ...[...NativePackedWeight, gateBias: Optional],
      ...[scratch: T, y: T],
    ]
  ): void;
  packRows(...args: [d: D, weight: T, ...NativePackedWeight, slack: T]): void;
  screenedArgmax(
    ...args: [...[d: D, x: T, approx: T, weight: T, slack: T], ...[limit: number, y: T, scored: T]]
  ): void;
  readAll(d: D, x: T, pieces: number, y: T): void;
  arithmeticPeak(d: D, kind: number, repeats: number, y: T): void;
  ropeTable(d: D, positions: T, rowSequence: T, base: T, table: T): void;
  rope(d: D, x: T, table: T): void;
  storeCache(
    ...args: [
      ...[d: D, k: T, v: T, positions: T, rowSequence: T, blockTable: T],
      ...[kCache: T, vCache: T, kGrids: Optional, vGrids: Optional],
    ]
  ): void;
  ropeStoreCache(
    ...args: [
      ...[d: D, qkv: T, table: T, positions: T, rowSequence: T, blockTable: T],
      ...[kCache: T, vCache: T, kGrids: Optional, vGrids: Optional],
    ]
  ): void;
  attention(
    ...args: [
      ...[d: D, q: T, kCache: T, vCache: T, kGrids: Optional, vGrids: Optional],
      ...[positions: T, rowSequence: T, blockTable: T, queryScale: T, y: T],
    ]
  ): void;
  quantizeCache(d: D, x: T, perCall: boolean, codes: T, scale: T, zero: T): void;
  dequantizeCache(d: D, codes: T, scale: T, zero: T, y: T): void;
  add(d: D, a: T, b: T, y: T): void;
  swiglu(d: D, up: T, gate: T, y: T): void;
  cast(d: D, x: T, y: T, counts: T): void;
  copy(d: D, x: T, y: T): void;
  countNonFinite(d: D, x: T, count: T): void;
  logSoftmax(d: D, x: T, y: T): void;
  pick(d: D, x: T, index: T, y: T): void;
  klDivergence(d: D, logP: T, logQ: T, y: T): void;
  argmax(d: D, x: T, limit: number, y: T): void;
  sample(
    ...args: [
      ...[d: D, logits: T, limit: number, options: T],
      ...[seenBegin: T, seenIds: T, seenTimes: T, y: T],
    ]
  ): void;
  gatherRows(d: D, x: T, index: T, y: T): void;
  gatherColumns(d: D, x: T, index: T, y: T): void;
  zeroColumns(d: D, w: T, diagonal: T): void;
  accumulateGram(d: D, x: T, gram: T, roundsToBf16: boolean): void;
  finishHessian(d: D, gram: T, scale: number, diagonal: T): void;
  inverseCholesky(d: D, hessian: T, damping: number, factor: T, status: T): void;
  accumulateCross(
    ...args: [d: D, x: T, original: T, inputs: T, cross: T, roundsToBf16: boolean]
  ): void;
  scaleAndShift(d: D, matrix: T, scale: number, shift: number): void;
  residual(d: D, target: T, w: T, hessian: T, residual: T): void;
  refineBlock(
    ...args: [
      ...[d: D, w: T, residual: T, hessian: T, begin: number, end: number, columnGroup: T],
      ...[
        bits: number,
        scaleDtype: DType,
        sweeps: number,
        refinesScales: boolean,
        refinesCodes: boolean,
      ],
      ...[scales: T, zeros: T, codes: T, change: T],
    ]
  ): void;
  accumulateProduct(d: D, a: T, b: T, subtracts: boolean, c: T): void;
  findGrid(
    ...args: [
      ...[D, w: T, ...NativeGrid, groupSize: number],
      ...[importance: Optional, scales: T, zeros: T],
    ]
  ): void;
  roundToGrid(
    ...args: [d: D, w: T, columnGroup: T, bits: number, scales: T, zeros: T, codes: T]
  ): void;
  gptqBlock(
    ...args: [
      ...[d: D, w: T, factor: T, begin: number, end: number, columnGroup: T],
      ...NativeGrid,
      ...[range: number, importance: Optional, scales: T, zeros: T, codes: T, error: T],
    ]
  ): void;
  trailingUpdate(d: D, w: T, error: T, factor: T, begin: number): void;
  accumulateSquares(d: D, a: T, b: Optional, y: T): void;
  quadraticForm(d: D, a: T, b: Optional, hessian: T, y: T): void;
  packWeight(d: D, codes: T, bits: number, qweight: T): void;
  unpackWeight(d: D, qweight: T, bits: number, codes: T): void;
  packZeros(d: D, zeros: T, bits: number, zeroOffset: number, qzeros: T): void;
  unpackZeros(d: D, qzeros: T, bits: number, zeroOffset: number, zeros: T): void;
  transpose(d: D, x: T, y: T): void;
  dequantize(
    ...args: [
      ...[d: D, qweight: T, qzeros: T, scales: T, groupIndex: Optional],
      ...[bits: number, zeroOffset: number, groupSize: number, y: T],
    ]
  ): void;
};

let loaded: Native | undefined;

/**
 * The addon, loaded on first use.
 *
 * @throws KernelError KERNEL_NOT_BUILT with what to do when it is missing or does not load
 */
export function native(): Native {
  if (loaded !== undefined) return loaded;
  try {
    loaded = createRequire(import.meta.url)(addonPath) as Native;
  } catch (cause) {
    throw new KernelError(
      "KERNEL_NOT_BUILT",
      `the native kernels could not be loaded from ${addonPath}; run "npm run build:native" ` +
        `(it needs a C++20 compiler and CMake), or see the cause: ${String(cause)}`,
      { cause },
    );
  }
  return loaded;
}

const codes: ReadonlySet<string> = new Set<KernelErrorCode>([
  "KERNEL_SHAPE",
  "KERNEL_DTYPE",
  "KERNEL_VALUE",
  "KERNEL_UNSUPPORTED",
  "KERNEL_OUT_OF_MEMORY",
  "KERNEL_FILE",
  "KERNEL_DEVICE",
]);

function codeOf(cause: unknown): KernelErrorCode {
  const code: unknown = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return typeof code === "string" && codes.has(code)
    ? (code as KernelErrorCode)
    : "KERNEL_INTERNAL";
}

/** Runs one synchronous native call; what it throws becomes a KernelError with this stack. */
export function call<R>(body: (addon: Native) => R): R {
  const addon = native();
  try {
    return body(addon);
  } catch (cause) {
    throw new KernelError(codeOf(cause), messageOf(cause), { cause });
  }
}

/** Awaits a native promise; its failure becomes a KernelError whose stack is the caller's. */
export async function settle<R>(body: (addon: Native) => Promise<R>): Promise<R> {
  const site = new KernelError("KERNEL_INTERNAL", "");
  try {
    return await body(native());
  } catch (cause) {
    const error = new KernelError(codeOf(cause), messageOf(cause), { cause });
    const frames = site.stack?.split("\n").slice(1) ?? [];
    error.stack = [`${error.name}: ${error.message}`, ...frames].join("\n");
    throw error;
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
