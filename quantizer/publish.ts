// What every directory of weights written here has in common: large tensors go out in parts, and final names come last.
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { FloatTensor } from "../kernels/index.ts";
import { type CheckpointWriter, copyCompanions } from "../runtime/index.ts";

/** Elements of a large tensor that are read and written together. */
export const partElements: number = 2 ** 24;

/** Views of consecutive rows that together are the tensor; each is the caller's to dispose. */
export function* rowParts(tensor: FloatTensor): Generator<FloatTensor> {
  const [rows = 1, ...rest] = tensor.shape;
  const rowElements = rest.reduce((product, extent) => product * extent, 1);
  const partRows = Math.max(1, Math.floor(partElements / rowElements));
  for (let start = 0; start < rows; start += partRows) {
    yield tensor.narrow(0, start, Math.min(partRows, rows - start));
  }
}

/** Files of the source that went along, and those that did not with the reason. */
export type CopiedFiles = {
  readonly copied: readonly string[];
  readonly skipped: readonly string[];
};

/** @param leftOut  names that do not go along */
export function copySmallFiles(
  source: string,
  dir: string,
  leftOut?: ReadonlySet<string>,
): CopiedFiles {
  const { copied, skipped } = copyCompanions(source, dir, leftOut);
  return { copied, skipped: skipped.map(({ file, reason }) => `${file}: ${reason}`) };
}

export function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Adds the small files and gives everything its final name; if that fails, takes what it added away again. */
export function publish<Result>(
  writer: CheckpointWriter,
  dir: string,
  addSmallFiles: () => Result,
): Result {
  writer.flush();
  const before = new Set(readdirSync(dir));
  try {
    const result = addSmallFiles();
    writer.finish();
    return result;
  } catch (error) {
    for (const file of readdirSync(dir)) {
      if (!before.has(file)) rmSync(join(dir, file), { force: true });
    }
    throw error;
  }
}
