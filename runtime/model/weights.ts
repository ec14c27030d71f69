import {
  type Device,
  type FloatTensor,
  type I32,
  MappedFile,
  type MappedTensorOptions,
} from "../../kernels/index.ts";
import {
  type Checkpoint,
  CheckpointError,
  fileVersion,
  requireTensor,
  type StoredDtype,
  type TensorEntry,
} from "../checkpoint/index.ts";
import type { PackedCache } from "./packed-cache.ts";

const floatDtypes = { BF16: "bf16", F16: "f16", F32: "f32" } as const satisfies Partial<
  Record<StoredDtype, string>
>;
const floatNames = ["BF16", "F16", "F32"] as const;

/** Puts other float tensors in the place of a checkpoint's as they are read. */
export interface WeightOverlay {
  /**
   * Asked on every read of a tensor, with the same answer each time.
   *
   * @param stored  the checkpoint's own tensor, only valid during the call
   * @returns a new tensor of the same shape for the caller to dispose, or undefined to keep the stored one
   */
  replace(name: string, stored: FloatTensor): FloatTensor | undefined;
}

/** The tensors of a checkpoint as views of its mapped files: nothing is read before it is used. */
export class Weights implements Disposable {
  readonly checkpoint: Checkpoint;
  readonly device: Device;
  readonly packedCache: PackedCache | undefined;
  readonly #overlay: WeightOverlay | undefined;
  readonly #files = new Map<string, MappedFile>();
  readonly #versions: ReadonlyMap<string, string | undefined>;

  constructor(
    checkpoint: Checkpoint,
    device: Device,
    overlay: WeightOverlay | undefined,
    packedCache?: PackedCache,
  ) {
    this.checkpoint = checkpoint;
    this.device = device;
    this.packedCache = packedCache;
    this.#overlay = overlay;
    this.#versions = new Map(checkpoint.weightFiles.map((file) => [file, fileVersion(file)]));
  }

  has(name: string): boolean {
    return this.checkpoint.tensors.has(name);
  }

  /** Whether some tensors are computed as they are read. */
  get hasOverlay(): boolean {
    return this.#overlay !== undefined;
  }

  /**
   * @param options  `staysOnHost` for what a GPU reads few rows of
   * @throws CheckpointError CHECKPOINT_TENSOR if it is missing or of another shape or dtype, CHECKPOINT_CHANGED if its file is
   *   not what it was
   */
  float(name: string, shape: readonly number[], options: MappedTensorOptions = {}): FloatTensor {
    const entry = requireTensor(this.checkpoint, name, { dtypes: floatNames, shape });
    const dtype = floatNames.find((stored) => stored === entry.dtype);
    if (dtype === undefined) throw unexpectedDtype(entry);
    const { begin } = entry;
    const file = this.#file(entry);
    const stored = file.tensor(this.device, begin, floatDtypes[dtype], entry.shape, options);
    const replacement = this.#overlay?.replace(name, stored);
    if (replacement === undefined) return stored;
    stored[Symbol.dispose]();
    return replacement;
  }

  /**
   * @throws CheckpointError CHECKPOINT_TENSOR if it is missing or of another shape or dtype, CHECKPOINT_CHANGED if its file is
   *   not what it was
   */
  int32(name: string, shape: readonly number[], options: MappedTensorOptions = {}): I32 {
    const entry = requireTensor(this.checkpoint, name, { dtypes: ["I32"], shape });
    return this.#file(entry).tensor(this.device, entry.begin, "i32", entry.shape, options);
  }

  /**
   * Lets the pages of every tensor whose name starts with `prefix` go from memory; they load again when used.
   *
   * @throws CheckpointError CHECKPOINT_CHANGED if what was read meanwhile may be something else
   */
  evict(prefix: string): void {
    for (const entry of this.checkpoint.tensors.values()) {
      if (!entry.name.startsWith(prefix)) continue;
      this.#file(entry).evict(this.device, entry.begin, entry.end - entry.begin);
    }
  }

  #file(entry: TensorEntry): MappedFile {
    // Reading a mapping beyond the end of a file that became shorter would kill the process.
    requireUnchanged(entry.file, this.#versions.get(entry.file));
    let file = this.#files.get(entry.file);
    if (file === undefined) {
      file = new MappedFile(entry.file);
      this.#files.set(entry.file, file);
    }
    return file;
  }

  [Symbol.dispose](): void {
    this.packedCache?.[Symbol.dispose]();
    for (const file of this.#files.values()) file[Symbol.dispose]();
    this.#files.clear();
  }
}

function requireUnchanged(file: string, version: string | undefined): void {
  const current = fileVersion(file);
  if (current === undefined) {
    throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${file}: was removed while it was in use`);
  }
  if (current !== version) {
    throw new CheckpointError(
      "CHECKPOINT_CHANGED",
      `${file}: was changed while it was in use; start over when nothing writes to it`,
    );
  }
}

function unexpectedDtype(entry: TensorEntry): CheckpointError {
  return new CheckpointError(
    "CHECKPOINT_TENSOR",
    `${entry.file}: tensor ${entry.name} is ${entry.dtype}; expected a float`,
  );
}
