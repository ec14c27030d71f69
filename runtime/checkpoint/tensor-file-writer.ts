// One safetensors file written tensor by tensor, found whole or not at all.

import { rmSync } from "node:fs";
import { partialPath, publishStaged, writeFully, writing } from "./atomic-file.ts";
import type { TensorSpec } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import { encodeHeader } from "./safetensors.ts";
import { closeShard, createShard } from "./shard-file.ts";

/**
 * Writes a file of the given tensors; `fill` gets a function that takes the bytes of each, in any order.
 *
 * @returns bytes of the file
 * @throws CheckpointError CHECKPOINT_WRITE if it cannot be written, for bytes of another size or a tensor without any; whatever
 *   `fill` throws. No file is then left.
 */
export async function writeTensorFile(
  path: string,
  entries: readonly TensorSpec[],
  metadata: ReadonlyMap<string, string>,
  fill: (put: (name: string, bytes: Uint8Array) => void) => Promise<void>,
): Promise<number> {
  const header = encodeHeader(entries, metadata);
  const file = writing(path, () => createShard(path, header));
  const missing = new Set(header.offsets.keys());
  const put = (name: string, bytes: Uint8Array): void => {
    const range = header.offsets.get(name);
    if (file.fd === undefined || range === undefined || range.end - range.begin !== bytes.length) {
      throw new CheckpointError("CHECKPOINT_WRITE", `${path}: ${name} does not fit its place`);
    }
    const { fd } = file;
    writing(path, () => writeFully(fd, bytes, range.begin));
    missing.delete(name);
  };
  try {
    await fill(put);
    const [first] = missing;
    if (first !== undefined) {
      throw new CheckpointError("CHECKPOINT_WRITE", `${path}: ${first} was not written`);
    }
    writing(path, () => closeShard(file, true));
  } catch (error) {
    closeShard(file, false);
    rmSync(partialPath(path), { force: true });
    throw error;
  }
  publishStaged(path);
  return header.fileBytes;
}
