// What every weight file is to the rest: a table of names, types and byte ranges.

import type { StoredDtype } from "./dtype.ts";
import { CheckpointError, shown } from "./errors.ts";
import { readExactly, withFile } from "./file-access.ts";

export type TensorEntry = {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  /** Absolute path. */
  readonly file: string;
  /**
   * Byte offsets in the file, not in its data section. Nothing promises that `begin` is aligned to the dtype, nor, in
   * a PyTorch file, that no other tensor has the same bytes.
   */
  readonly begin: number;
  readonly end: number;
};

export type TensorFile = {
  readonly path: string;
  /** `__metadata__` of safetensors. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
};

/** Reads one tensor whole: for small tensors and tests; large ones are memory-mapped elsewhere. */
export function readTensorBytes(entry: TensorEntry): Uint8Array {
  return withFile(entry.file, (fd, size) => {
    if (entry.end > size) {
      throw new CheckpointError(
        "CHECKPOINT_TRUNCATED",
        `${entry.file}: tensor ${shown(entry.name)} ends at byte ${entry.end} but the file has ${size}; was it replaced while in use?`,
      );
    }
    const bytes = new Uint8Array(entry.end - entry.begin);
    readExactly(fd, bytes, entry.begin, entry.file);
    return bytes;
  });
}
