// Writing so that a reader finds a file whole or not at all.

import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { CheckpointError } from "./errors.ts";

/** One write call may not exceed 2 GiB - 1 in Node, and lm_head of the 72B model has 2.5 GB. */
const writeChunkBytes = 64 * 1024 * 1024;

/** Where a file is written until it is complete. */
export function partialPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.partial`);
}

/** Whether a file's name is one of `partialPath`: what is left of a run that was killed. */
export function isPartial(name: string): boolean {
  return /^\..*\.partial$/.test(name);
}

/**
 * Writes a small file under a temporary name, flushes it to the disk and renames it into place.
 *
 * @throws CheckpointError CHECKPOINT_WRITE
 */
export function writeFileAtomic(path: string, contents: string | Uint8Array): void {
  stageFile(path, contents);
  publishStaged(path);
}

/**
 * The first half of `writeFileAtomic`: all that needs room on the disk.
 *
 * @throws CheckpointError CHECKPOINT_WRITE
 */
export function stageFile(path: string, contents: string | Uint8Array): void {
  const bytes = typeof contents === "string" ? Buffer.from(contents, "utf8") : contents;
  removingOnFailure(path, (partial) => {
    const fd = openFresh(partial);
    try {
      writeFully(fd, bytes, 0);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
}

/**
 * The second half of `writeFileAtomic`.
 *
 * @throws CheckpointError CHECKPOINT_WRITE
 */
export function publishStaged(path: string): void {
  removingOnFailure(path, (partial) => renameSync(partial, path));
  writing(path, () => syncDirectory(dirname(path)));
}

function removingOnFailure(path: string, action: (partial: string) => void): void {
  const partial = partialPath(path);
  writing(path, () => {
    try {
      action(partial);
    } catch (error) {
      rmSync(partial, { force: true });
      throw error;
    }
  });
}

/** Opens a new file for writing; one left over from an interrupted run is replaced, a link is never followed. */
export function openFresh(path: string): number {
  rmSync(path, { force: true });
  return openSync(path, "wx");
}

export function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.byteLength) {
    const length = Math.min(writeChunkBytes, bytes.byteLength - done);
    done += writeSync(fd, bytes, done, length, position + done);
  }
}

/** A rename survives a power cut only once its directory is on the disk. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Runs `action`, turning operating system errors into CHECKPOINT_WRITE with the path they concern. */
export function writing<Result>(path: string, action: () => Result): Result {
  try {
    return action();
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError("CHECKPOINT_WRITE", `${path}: cannot be written: ${reason}`, {
      cause,
    });
  }
}
