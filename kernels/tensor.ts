import type { Device } from "./device.ts";
import { arrayOf, type DType, type DTypeArray } from "./dtype.ts";
import { KernelError } from "./errors.ts";
import { call, type NativeTensor, settle } from "./native.ts";

/**
 * Memory on a device with a dtype and a shape; a view shares memory with its source. Disposing a tensor makes
 * its memory free for later operations of the same device at once: the order of calls is the order of
 * execution, so nothing already called can be disturbed.
 */
export class Tensor<T extends DType = DType> implements Disposable {
  readonly device: Device;
  readonly handle: NativeTensor;
  readonly dtype: T;
  readonly shape: readonly number[];

  constructor(device: Device, handle: NativeTensor, dtype: T, shape: readonly number[]) {
    this.device = device;
    this.handle = handle;
    this.dtype = dtype;
    this.shape = shape;
  }

  /** Extent of one dimension, negative counting from the last. */
  size(dimension: number): number {
    const extent = this.shape.at(dimension);
    if (extent === undefined) {
      throw new KernelError("KERNEL_SHAPE", `[${this.shape}] has no dimension ${dimension}`);
    }
    return extent;
  }

  /** The view of `length` entries from `start` along a dimension. */
  narrow(dimension: number, start: number, length: number): Tensor<T> {
    const handle = call((addon) => addon.narrow(this.handle, dimension, start, length));
    return new Tensor(this.device, handle, this.dtype, this.shape.with(dimension, length));
  }

  /** The same elements under another shape; the tensor must be contiguous. */
  reshape(shape: readonly number[]): Tensor<T> {
    const handle = call((addon) => addon.reshape(this.handle, Float64Array.from(shape)));
    return new Tensor(this.device, handle, this.dtype, shape);
  }

  /** Copies host values in; the values may be changed as soon as this returns. */
  write(values: DTypeArray[T]): void {
    if (!(values instanceof arrayOf[this.dtype])) {
      throw new KernelError("KERNEL_DTYPE", `write: values for ${this.dtype} are of another type`);
    }
    call((addon) => addon.write(this.handle, values));
  }

  /** Waits for the operations called so far and returns the content; the tensor must be contiguous. */
  async read(): Promise<DTypeArray[T]> {
    const bytes = await settle((addon) => addon.read(this.device.handle, this.handle));
    return new arrayOf[this.dtype](bytes);
  }

  [Symbol.dispose](): void {
    call((addon) => addon.dispose(this.handle));
  }
}
