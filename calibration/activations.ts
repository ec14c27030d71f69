// Hidden states between blocks: in memory as far as a budget goes, beyond it in a temporary file.
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Device, F32 } from "../kernels/index.ts";
import { CalibrationError } from "./errors.ts";

/** Hidden, and of the form that marks leftovers of a killed run. */
const fileName = ".activations.partial";

/** Unit of the file's space and of each transfer: large enough for a disk, small enough to bound host copies. */
const chunkBytes = 2 ** 23;

/** Extents of a tensor and where it is. */
type Entry = {
  readonly shape: readonly [rows: number, width: number];
  /** Present while it is in memory and not taken out. */
  tensor: F32 | undefined;
  /** Chunks of the file, in order; undefined for a tensor that stays in memory. */
  readonly chunks: readonly number[] | undefined;
};

export type ActivationOptions = {
  /** Bytes of tensors to keep in memory; undefined for all. */
  readonly budgetBytes: number | undefined;
  /** Where the temporary file goes; must exist once tensors exceed the budget. */
  readonly directory: string;
};

/**
 * Tensors [rows, width] f32 by name. A tensor is taken out, used, and put back: either as it was (`restore`) or another in its place
 * (`put`). What does not fit the budget lies in a file without a name, which ends with the process however that ends.
 * Contents come back bit for bit.
 */
export class ActivationStore implements AsyncDisposable {
  readonly #device: Device;
  readonly #options: ActivationOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #freeChunks: number[] = [];
  #file: FileHandle | undefined;
  #chunks = 0;
  #memoryBytes = 0;
  #fileBytes = 0;
  #peakFileBytes = 0;

  constructor(device: Device, options: ActivationOptions) {
    this.#device = device;
    this.#options = options;
  }

  /** The most bytes that were in the file. */
  get spilledBytes(): number {
    return this.#peakFileBytes;
  }

  /**
   * Takes ownership of a tensor and keeps it under a name, in place of what was there.
   *
   * @throws CalibrationError CALIBRATION_SPILL if it has to go to the disk and cannot
   */
  async put(name: string, tensor: F32): Promise<void> {
    this.drop(name);
    const shape = extents(tensor);
    const bytes = byteLength(shape);
    const { budgetBytes } = this.#options;
    if (budgetBytes === undefined || this.#memoryBytes + bytes <= budgetBytes) {
      this.#memoryBytes += bytes;
      this.#entries.set(name, { shape, tensor, chunks: undefined });
      return;
    }
    using spilled = tensor;
    const chunks = Array.from({ length: Math.ceil(bytes / chunkBytes) }, () => this.#chunk());
    this.#entries.set(name, { shape, tensor: undefined, chunks });
    this.#fileBytes += bytes;
    this.#peakFileBytes = Math.max(this.#peakFileBytes, this.#fileBytes);
    await this.#write(spilled, chunks);
  }

  /**
   * Takes a tensor out; it is the caller's until `restore` or `put`.
   *
   * @throws CalibrationError CALIBRATION_SPILL if it cannot be read from the disk
   */
  async take(name: string): Promise<F32> {
    const entry = this.#entries.get(name);
    if (entry?.chunks !== undefined) return await this.#read(entry.shape, entry.chunks);
    const tensor = entry?.tensor;
    if (entry === undefined || tensor === undefined) throw new RangeError(`no activation ${name}`);
    entry.tensor = undefined;
    return tensor;
  }

  /** Gives back a tensor that was taken out and not changed. */
  restore(name: string, tensor: F32): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new RangeError(`no activation ${name}`);
    if (entry.chunks === undefined) entry.tensor = tensor;
    // The copy on the disk is still good.
    else tensor[Symbol.dispose]();
  }

  /** Forgets a tensor, taken out or not. */
  drop(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    entry.tensor?.[Symbol.dispose]();
    const bytes = byteLength(entry.shape);
    if (entry.chunks === undefined) {
      this.#memoryBytes -= bytes;
      return;
    }
    this.#fileBytes -= bytes;
    this.#freeChunks.push(...entry.chunks);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#entries.keys()]) this.drop(name);
    await this.#file?.close();
    this.#file = undefined;
  }

  #chunk(): number {
    const free = this.#freeChunks.pop();
    if (free !== undefined) return free;
    this.#chunks += 1;
    return this.#chunks - 1;
  }

  async #write(tensor: F32, chunks: readonly number[]): Promise<void> {
    using flat = tensor.reshape([tensor.size(0) * tensor.size(1)]);
    const perChunk = chunkBytes / Float32Array.BYTES_PER_ELEMENT;
    for (const [i, chunk] of chunks.entries()) {
      const start = i * perChunk;
      using part = flat.narrow(0, start, Math.min(perChunk, flat.size(0) - start));
      const values = await part.read();
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      await this.#transfer(async (file) => {
        for (let done = 0; done < bytes.length; ) {
          const position = chunk * chunkBytes + done;
          const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position);
          done += bytesWritten;
        }
      });
    }
  }

  async #read(shape: Entry["shape"], chunks: readonly number[]): Promise<F32> {
    // Reading ahead of the device would fill the memory with what it has not come to: each load has a copy of its own.
    await this.#device.sync();
    const tensor = this.#device.empty("f32", shape);
    using flat = tensor.reshape([shape[0] * shape[1]]);
    const perChunk = chunkBytes / Float32Array.BYTES_PER_ELEMENT;
    const buffer = new Float32Array(Math.min(perChunk, flat.size(0)));
    for (const [i, chunk] of chunks.entries()) {
      const start = i * perChunk;
      const values = buffer.subarray(0, Math.min(perChunk, flat.size(0) - start));
      const bytes = new Uint8Array(values.buffer, 0, values.byteLength);
      await this.#transfer(async (file) => {
        for (let done = 0; done < bytes.length; ) {
          const position = chunk * chunkBytes + done;
          const { bytesRead } = await file.read(bytes, done, bytes.length - done, position);
          if (bytesRead === 0) throw new Error("the file is shorter than what was written");
          done += bytesRead;
        }
      });
      using part = flat.narrow(0, start, values.length);
      part.write(values);
    }
    return tensor;
  }

  async #transfer(action: (file: FileHandle) => Promise<void>): Promise<void> {
    const path = join(this.#options.directory, fileName);
    try {
      this.#file ??= await openNameless(path);
      await action(this.#file);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new CalibrationError(
        "CALIBRATION_SPILL",
        `${path}: hidden states that exceed the memory limit cannot be kept there: ${reason}; ` +
          "free some space, or allow more memory",
        { cause },
      );
    }
  }
}

/** A new file that is gone once it is closed, also by the end of the process. */
async function openNameless(path: string): Promise<FileHandle> {
  await rm(path, { force: true });
  const file = await open(path, "wx+", 0o600);
  await rm(path);
  return file;
}

function extents(tensor: F32): Entry["shape"] {
  return [tensor.size(0), tensor.size(1)];
}

function byteLength([rows, width]: Entry["shape"]): number {
  return rows * width * Float32Array.BYTES_PER_ELEMENT;
}
