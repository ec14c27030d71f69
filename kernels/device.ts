import { availableParallelism } from "node:os";
import type { DType, DTypeArray } from "./dtype.ts";
import { KernelError } from "./errors.ts";
import { Graph } from "./graph.ts";
import { call, type NativeDevice, type NativeFile, native, settle } from "./native.ts";
import { Tensor } from "./tensor.ts";

/** Instruction-set levels, slowest first. "scalar" runs the plain reference of every operation. */
export const isaLevels = ["scalar", "avx2", "avx512", "avx512-vnni", "avx512-bf16"] as const;
export type Isa = (typeof isaLevels)[number];

export const deviceKinds = ["cpu", "cuda"] as const;
export type DeviceKind = (typeof deviceKinds)[number];

export type DeviceOptions = {
  /** Cores to compute with; all by default. Results do not depend on it. */
  readonly threads?: number;
  /** The highest level to use; what the processor has by default. */
  readonly isa?: Isa;
};

export type MemoryUse = {
  /** Bytes held by tensors. */
  readonly live: number;
  /** Bytes kept for reuse. */
  readonly cached: number;
  /** The largest `live` since the device was opened or the peak was reset. */
  readonly peak: number;
};

/** How a GPU gets a tensor of a mapped file; by default as a copy that is made in the order of calls. */
export type MappedTensorOptions = {
  /** In pinned memory of the host, which it reads more slowly. */
  readonly staysOnHost?: boolean | undefined;
  /**
   * As a copy that is made beside the operations called from here on; those before the tensor's first use do not wait for it.
   */
  readonly isPrefetched?: boolean | undefined;
};

/**
 * Runs operations in the order they are called. Calling an operation checks it and returns at once;
 * only `sync()` and `Tensor.read()` wait. A fault while an operation runs (an index outside its table, say)
 * rejects every later wait.
 */
export class Device implements Disposable {
  readonly handle: NativeDevice;
  readonly kind: DeviceKind;
  /** "cpu", or the GPU's model */
  readonly name: string;
  /** Of the processor; 1 where a GPU computes. */
  readonly threads: number;
  /** Of the processor; "scalar" where a GPU computes. */
  readonly isa: Isa;

  constructor(
    handle: NativeDevice,
    { kind, name, threads, isa }: Pick<Device, "kind" | "name" | "threads" | "isa">,
  ) {
    this.handle = handle;
    this.kind = kind;
    this.name = name;
    this.threads = threads;
    this.isa = isa;
  }

  /** A tensor whose content is undefined. */
  empty<T extends DType>(dtype: T, shape: readonly number[]): Tensor<T> {
    const handle = call((addon) => addon.allocate(this.handle, dtype, Float64Array.from(shape)));
    return new Tensor(this, handle, dtype, shape);
  }

  /** A tensor of zeros. */
  zeros<T extends DType>(dtype: T, shape: readonly number[]): Tensor<T> {
    const tensor = this.empty(dtype, shape);
    call((addon) => addon.clear(tensor.handle));
    return tensor;
  }

  /** A tensor holding a copy of `values`. */
  from<T extends DType>(
    dtype: T,
    values: DTypeArray[T],
    shape: readonly number[] = [values.length],
  ): Tensor<T> {
    const tensor = this.empty(dtype, shape);
    tensor.write(values);
    return tensor;
  }

  /**
   * Records the operations that `body` calls, without running them. They may then run again and again by one call, on the
   * same tensors: their contents may change in between, so a step's state is a step's tensors. The graph keeps the memory of
   * every tensor its operations use; what `body` makes and disposes shares some, as when it runs, so
   * a tensor that it makes holds only what these operations write to it.
   *
   * @param body  must not wait for the device
   * @throws KernelError KERNEL_VALUE inside another capture; whatever `body` throws
   */
  capture<R>(body: () => R): { readonly graph: Graph; readonly result: R } {
    call((addon) => addon.beginCapture(this.handle));
    let result: R;
    try {
      result = body();
    } catch (error) {
      new Graph(call((addon) => addon.endCapture(this.handle)))[Symbol.dispose]();
      throw error;
    }
    return { graph: new Graph(call((addon) => addon.endCapture(this.handle))), result };
  }

  /** Resolves when everything enqueued so far has run; what is prefetched and was not used yet may still be on its way. */
  sync(): Promise<void> {
    return settle((addon) => addon.sync(this.handle));
  }

  /**
   * NVIDIA's own libraries that the quantizer's operations use on a GPU where a machine has them, such as "cuBLASLt 13.0.2,
   * cuSOLVER 12.0.4"; empty where they use this project's kernels only.
   */
  get vendorLibraries(): string {
    return call((addon) => addon.vendorLibraries(this.handle));
  }

  memory(options?: { readonly resetPeak?: boolean }): MemoryUse {
    const [live = 0, cached = 0, peak = 0] = call((addon) =>
      addon.memory(this.handle, options?.resetPeak ?? false),
    );
    return { live, cached, peak };
  }

  /**
   * Stops the device once its tensors are gone and its waits are answered; further use throws KERNEL_DEVICE.
   * Work already called still runs, and the last of these to end waits for it.
   */
  [Symbol.dispose](): void {
    call((addon) => addon.closeDevice(this.handle));
  }
}

/**
 * Opens the CPU.
 *
 * @throws KernelError KERNEL_VALUE for a number of threads outside 1 .. 1024, KERNEL_UNSUPPORTED for an
 *   instruction set this processor lacks, KERNEL_NOT_BUILT when the addon is missing
 */
export function openDevice(options: DeviceOptions = {}): Device {
  const threads = options.threads ?? availableParallelism();
  const isa = options.isa ?? detectedIsa();
  const handle = call((addon) => addon.openDevice(threads, isa));
  return new Device(handle, { kind: "cpu", name: "cpu", threads, isa });
}

/** The highest instruction-set level of this processor that kernels exist for. */
export function detectedIsa(): Isa {
  const name = native().detectedIsa();
  const isa = isaLevels.find((level) => level === name);
  if (isa === undefined) throw new KernelError("KERNEL_INTERNAL", `unknown level "${name}"`);
  return isa;
}

/** A file mapped read-only into memory, whatever its size: tensors are views of it and load when touched. */
export class MappedFile implements Disposable {
  readonly path: string;
  readonly #handle: NativeFile;

  /** @throws KernelError KERNEL_FILE naming the path and the reason */
  constructor(path: string) {
    this.path = path;
    this.#handle = call((addon) => addon.mapFile(path));
  }

  /**
   * A read-only view of the file. A misaligned offset costs a copy.
   *
   * A GPU gets a copy in its own memory. If the file became shorter before a prefetched one was made, whatever uses it next
   * faults the device.
   *
   * @param offset  bytes from the start of the file
   * @throws KernelError KERNEL_FILE if the view is not inside the file; KERNEL_OUT_OF_MEMORY
   */
  tensor<T extends DType>(
    device: Device,
    offset: number,
    dtype: T,
    shape: readonly number[],
    { staysOnHost = false, isPrefetched = false }: MappedTensorOptions = {},
  ): Tensor<T> {
    const extents = Float64Array.from(shape);
    const handle = call((addon) =>
      addon.mapTensor(
        ...([device.handle, this.#handle, offset, dtype, extents] as const),
        ...([staysOnHost, isPrefetched] as const),
      ),
    );
    return new Tensor(device, handle, dtype, shape);
  }

  /**
   * Lets a range's pages go from memory after the operations called so far; they load again when touched, as by a prefetched
   * tensor that was not used yet.
   *
   * @param offset  bytes from the start of the file
   */
  evict(device: Device, offset: number, bytes: number): void {
    call((addon) => addon.evict(device.handle, this.#handle, offset, bytes));
  }

  /** Unmaps once no tensor refers to the file any more. */
  [Symbol.dispose](): void {
    call((addon) => addon.unmapFile(this.#handle));
  }
}
