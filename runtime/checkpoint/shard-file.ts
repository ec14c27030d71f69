// One weight file while it is being written.

import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
} from "node:fs";
import { openFresh, partialPath, writeFully } from "./atomic-file.ts";
import { CheckpointError } from "./errors.ts";
import type { EncodedHeader } from "./safetensors.ts";

export type OpenShard = {
  readonly path: string;
  fd: number | undefined;
  /** It has its final name already, from an interrupted `finish`. */
  readonly isPublished: boolean;
};
/** A new temporary file with its header, as large as it will be. */
export function createShard(path: string, header: EncodedHeader): OpenShard {
  const fd = openFresh(partialPath(path));
  try {
    ftruncateSync(fd, header.fileBytes);
    writeFully(fd, header.header, 0);
  } catch (error) {
    closeSync(fd);
    rmSync(partialPath(path), { force: true });
    throw error;
  }
  return { path, fd, isPublished: false };
}

export function readFully(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.byteLength) {
    const count = readSync(fd, bytes, done, bytes.byteLength - done, position + done);
    if (count === 0) throw new Error("the file ends too early");
    done += count;
  }
}

export function closeShard(shard: OpenShard, flush: boolean): void {
  const { fd } = shard;
  if (fd === undefined) return;
  shard.fd = undefined;
  try {
    if (flush) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * The file of a suspended or killed writer, under its temporary name or already under its final one.
 *
 * @throws CheckpointError CHECKPOINT_WRITE if it is not the file that the plan describes
 */
export function reopenShard(path: string, header: EncodedHeader): OpenShard {
  const partial = partialPath(path);
  const isPublished = !existsSync(partial) && existsSync(path);
  const fd = openSync(isPublished ? path : partial, "r+");
  const start = new Uint8Array(header.header.byteLength);
  if (fstatSync(fd).size === header.fileBytes) readFully(fd, start, 0);
  if (Buffer.compare(start, header.header) !== 0) {
    closeSync(fd);
    throw new CheckpointError(
      "CHECKPOINT_WRITE",
      `${path} is not of the run that is to be continued; start that run over`,
    );
  }
  return { path, fd, isPublished };
}
