// Packed weights kept in a file, so that the next run reads them instead of packing again. The file is an ordinary
// safetensors file; whatever is wrong with it, it is refused as a whole or in part and written anew.

import { createHash, randomUUID } from "node:crypto";
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
} from "node:fs";
import { join } from "node:path";
import {
  type Device,
  type GptqWeight,
  KernelError,
  MappedFile,
  ops,
  type PackedWeight,
  type Tensor,
} from "../../kernels/index.ts";
import {
  type Checkpoint,
  CheckpointError,
  encodeHeader,
  fileVersion,
  makeDirectories,
  type QuantizationConfig,
  readSafetensorsHeader,
  type StoredDtype,
  type TensorFile,
  type TensorSpec,
  writeFully,
} from "../checkpoint/index.ts";
import type { GptqDetails } from "./linear.ts";

export type PackedCacheOptions = {
  readonly directory: string;
  /** Bytes of all models' files together; those unused longest go. 32 GiB by default. */
  readonly limitBytes?: number;
  /** Less is not kept: packing it again takes no noticeable time. 64 MiB by default. */
  readonly leastBytes?: number;
};

export type KeptPackedWeights = { readonly file: string; readonly bytes: number };

/** Part of every file's name: goes up when the order of codes in ops.packLinear changes. */
const layoutVersion = 1;
const extension = ".safetensors";
/** Longer than any write takes: an unfinished file as old as this was left by a run that was killed. */
const abandonedAfterMs = 24 * 60 * 60 * 1000;
const dtypes = { I32: "i32", U8: "u8", F32: "f32", F16: "f16", BF16: "bf16" } as const;

/** The packed weights of one checkpoint, as found in its file and as made by this process. */
export class PackedCache implements Disposable {
  readonly file: string;
  readonly #device: Device;
  readonly #options: PackedCacheOptions;
  readonly #weights = new Map<string, PackedWeight>();
  #found: { readonly table: TensorFile; readonly mapped: MappedFile } | undefined;
  #isComplete = true;
  #problem: string | undefined;

  /** @param options.quantization  the checkpoint's; another one would pack its tensors otherwise */
  constructor(
    checkpoint: Checkpoint,
    device: Device,
    options: PackedCacheOptions & { readonly quantization: QuantizationConfig },
  ) {
    this.#device = device;
    this.#options = options;
    this.file = join(options.directory, `${keyOf(checkpoint, options.quantization)}${extension}`);
    try {
      this.#open();
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** Why the file that was there is not used, if it is not. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** The packed weight of one linear, copied from the file, or undefined where it has none that fits. */
  restore(name: string, weight: GptqWeight, details: GptqDetails): PackedWeight | undefined {
    if (this.#found === undefined) return undefined;
    try {
      using words = this.#tensor(`${name}.words`);
      using scales = this.#tensor(`${name}.scales`);
      using zeros = this.#tensor(`${name}.zeros`);
      if (words === undefined || scales === undefined) return undefined;
      const packed = ops.restorePacked(weight, details, { words, scales, zeros });
      this.#weights.set(name, packed);
      this.#evict(name);
      return packed;
    } catch (error) {
      this.#refuse(error);
      return undefined;
    }
  }

  /** Remembers what was packed; the tensors stay the caller's and must live until `save`. */
  add(name: string, packed: PackedWeight): void {
    this.#weights.set(name, packed);
    this.#isComplete = false;
  }

  /**
   * Writes the file if anything in it is missing, under a temporary name of this process until it is whole.
   *
   * @returns undefined if there was nothing to do
   * @throws CheckpointError CHECKPOINT_WRITE; the signal's reason
   */
  async save(signal?: AbortSignal): Promise<KeptPackedWeights | undefined> {
    const tensors = this.#tensorsToWrite();
    const { header, offsets, fileBytes } = alignedHeader(tensors);
    const { directory, leastBytes = 64 * 2 ** 20, limitBytes = 32 * 2 ** 30 } = this.#options;
    if (this.#isComplete || fileBytes < leastBytes || fileBytes > limitBytes) return undefined;
    const partial = join(directory, `.${randomUUID()}.partial`);
    try {
      makeDirectories(directory);
      const { bavail, bsize, blocks } = statfsSync(directory);
      if (blocks !== 0 && fileBytes > bavail * bsize) {
        throw new Error(`${fileBytes} bytes are needed, ${bavail * bsize} are free`);
      }
      const fd = openSync(partial, "wx", 0o600);
      try {
        writeFully(fd, header, 0);
        for (const { name, tensor } of tensors) {
          const { buffer } = await tensor.read();
          signal?.throwIfAborted();
          writeFully(fd, new Uint8Array(buffer), offsets.get(name)?.begin ?? 0);
        }
        fdatasyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(partial, this.file);
      prune(directory, limitBytes, this.file);
    } catch (cause) {
      if (existsSync(partial)) rmSync(partial);
      if (signal?.aborted || cause instanceof KernelError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new CheckpointError("CHECKPOINT_WRITE", `${this.file}: cannot be written: ${reason}`, {
        cause,
      });
    }
    this.#isComplete = true;
    return { file: this.file, bytes: fileBytes };
  }

  #open(): void {
    if (fileVersion(this.file) === undefined) return;
    const table = readSafetensorsHeader(this.file);
    this.#found = { table, mapped: new MappedFile(this.file) };
    touch(this.file);
  }

  // A file that is not as it should be is as good as none.
  #refuse(error: unknown): void {
    if (!(error instanceof CheckpointError || error instanceof KernelError)) throw error;
    this.#problem = error.message;
    this.#release();
  }

  #tensor(name: string): Tensor | undefined {
    const entry = this.#found?.table.tensors.get(name);
    if (entry === undefined) return undefined;
    const dtype = entry.dtype === "I64" ? undefined : dtypes[entry.dtype];
    if (dtype === undefined) {
      throw new CheckpointError("CHECKPOINT_TENSOR", `${entry.file}: ${name} is ${entry.dtype}`);
    }
    return this.#found?.mapped.tensor(this.#device, entry.begin, dtype, entry.shape);
  }

  #evict(name: string): void {
    for (const part of ["words", "scales", "zeros"]) {
      const entry = this.#found?.table.tensors.get(`${name}.${part}`);
      if (entry !== undefined) {
        this.#found?.mapped.evict(this.#device, entry.begin, entry.end - entry.begin);
      }
    }
  }

  #tensorsToWrite(): readonly (TensorSpec & { readonly tensor: Tensor })[] {
    // Words first: their sizes keep each other aligned.
    return (["words", "scales", "zeros"] as const).flatMap((part) =>
      [...this.#weights].flatMap(([name, weight]) => {
        const tensor: Tensor | undefined = weight[part];
        if (tensor === undefined) return [];
        const dtype = tensor.dtype.toUpperCase() as StoredDtype;
        return [{ name: `${name}.${part}`, dtype, shape: tensor.shape, tensor }];
      }),
    );
  }

  #release(): void {
    this.#found?.mapped[Symbol.dispose]();
    this.#found = undefined;
  }

  [Symbol.dispose](): void {
    this.#release();
  }
}

/** The files of a cache directory that are whole, the one used last first; none where there is no such directory. */
export function packedCacheFiles(
  directory: string,
): readonly (KeptPackedWeights & { readonly usedMs: number })[] {
  return namesIn(directory)
    .filter((name) => name.endsWith(extension))
    .flatMap((name) => {
      const file = join(directory, name);
      const stats = statSync(file, { throwIfNoEntry: false });
      return stats?.isFile() ? [{ file, bytes: stats.size, usedMs: stats.mtimeMs }] : [];
    })
    .sort((a, b) => b.usedMs - a.usedMs);
}

function prune(directory: string, limitBytes: number, newest: string): void {
  let total = statSync(newest).size;
  for (const { file, bytes } of packedCacheFiles(directory)) {
    if (file === newest) continue;
    total += bytes;
    if (total > limitBytes) rmSync(file, { force: true });
  }
  for (const name of namesIn(directory).filter((entry) => entry.endsWith(".partial"))) {
    const stats = statSync(join(directory, name), { throwIfNoEntry: false });
    if (stats !== undefined && Date.now() - stats.mtimeMs > abandonedAfterMs) {
      rmSync(join(directory, name), { force: true });
    }
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

function touch(file: string): void {
  try {
    utimesSync(file, new Date(), new Date());
  } catch (error) {
    // On a read-only disk nothing is removed either, so the time of last use does not matter.
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

/** Everything a packed weight depends on, short of the weights' bytes: those are vouched for by size and time. */
function keyOf(checkpoint: Checkpoint, quantization: QuantizationConfig): string {
  const hash = createHash("sha256");
  const add = (value: unknown): void => void hash.update(`${JSON.stringify(value)}\n`);
  add([layoutVersion, checkpoint.config, quantization]);
  for (const path of checkpoint.weightFiles) {
    const { size, mtimeMs, ctimeMs, ino } = statSync(path);
    add([realpathSync(path), size, mtimeMs, ctimeMs, ino]);
  }
  for (const { name, dtype, shape, file, begin, end } of checkpoint.tensors.values()) {
    add([name, dtype, shape, file, begin, end]);
  }
  return `${hash.digest("hex").slice(0, 40)}-v${layoutVersion}`;
}

/** A header so long that the tensors start on a cache line. */
function alignedHeader(tensors: readonly TensorSpec[]): ReturnType<typeof encodeHeader> {
  const { header } = encodeHeader(tensors, new Map([["padding", ""]]));
  const padding = " ".repeat((64 - (header.byteLength % 64)) % 64);
  return encodeHeader(tensors, new Map([["padding", padding]]));
}
