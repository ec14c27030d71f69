// Reading files that may be missing, huge, special (a FIFO would block for ever) or Git LFS pointers.

import { closeSync, openSync, readSync, type Stats, statSync } from "node:fs";
import { basename } from "node:path";
import type { CheckpointErrorCode } from "./errors.ts";
import { CheckpointError } from "./errors.ts";

/** One read call may not exceed 2 GiB - 1 in Node; 64 MiB costs nothing in speed. */
const readChunkBytes = 64 * 1024 * 1024;
const lfsPrefix = "version https://git-lfs.github.com/spec/";

/** @returns size in bytes of a regular file (symbolic links are followed) */
export function requireRegularFile(path: string): number {
  const stats = statPath(path);
  if (stats === undefined) {
    throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${path}: no such file`);
  }
  if (!stats.isFile()) {
    throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${path}: expected a regular file`);
  }
  return stats.size;
}

/** @returns what a path leads to, or undefined when it leads nowhere (also a dangling link) */
export function statPath(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw readError(path, cause);
  }
}

/** Tells a file that was written to or replaced from what it was, without reading it; undefined when it is gone. */
export function fileVersion(path: string): string | undefined {
  const stats = statPath(path);
  return stats && `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
}

/** Opens a regular file for the duration of `use`, turning operating system errors into CHECKPOINT_READ. */
export function withFile<Result>(path: string, use: (fd: number, size: number) => Result): Result {
  const size = requireRegularFile(path);
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    throw readError(path, cause);
  }
  try {
    return use(fd, size);
  } finally {
    closeSync(fd);
  }
}

/** Reads a whole small file. */
export function readRegularFile(
  path: string,
  limitBytes: number,
  code: CheckpointErrorCode,
): Uint8Array {
  return withFile(path, (fd, size) => {
    if (size > limitBytes) {
      throw new CheckpointError(
        code,
        `${path}: file has ${size} bytes; expected at most ${limitBytes}`,
      );
    }
    const bytes = new Uint8Array(size);
    readExactly(fd, bytes, 0, path);
    refuseLfsPointer(bytes, path);
    return bytes;
  });
}

/** Fills `target` from `position`, or throws CHECKPOINT_TRUNCATED. */
export function readExactly(fd: number, target: Uint8Array, position: number, path: string): void {
  let done = 0;
  while (done < target.byteLength) {
    const wanted = Math.min(readChunkBytes, target.byteLength - done);
    const got = readSome(fd, { target, done, wanted, position: position + done }, path);
    if (got === 0) {
      throw new CheckpointError(
        "CHECKPOINT_TRUNCATED",
        `${path}: file ended at byte ${position + done}; expected ${target.byteLength - done} more`,
      );
    }
    done += got;
  }
}

/** @throws CheckpointError CHECKPOINT_LFS_POINTER if the file's first bytes are those of a pointer file */
export function refuseLfsPointer(head: Uint8Array, path: string): void {
  if (!isLfsPointer(head)) return;
  throw new CheckpointError(
    "CHECKPOINT_LFS_POINTER",
    `${path}: this is a Git LFS pointer, not the file itself; run \`git lfs pull\` in the model directory, or download ${basename(path)} again`,
  );
}

export function isLfsPointer(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(0, lfsPrefix.length)).toString("latin1") === lfsPrefix;
}

type ReadRequest = {
  readonly target: Uint8Array;
  readonly done: number;
  readonly wanted: number;
  readonly position: number;
};

function readSome(fd: number, request: ReadRequest, path: string): number {
  try {
    return readSync(fd, request.target, request.done, request.wanted, request.position);
  } catch (cause) {
    throw readError(path, cause);
  }
}

function readError(path: string, cause: unknown): CheckpointError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CheckpointError("CHECKPOINT_READ", `${path}: cannot be read: ${reason}`, { cause });
}

/** For a directory whose names cannot be read. */
export function unlistable(dir: string, cause: unknown): CheckpointError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CheckpointError("CHECKPOINT_READ", `${dir}: cannot be listed: ${reason}`, { cause });
}
