// Streams tensors into a checkpoint, in any order, with no more memory than the tensor at hand.

import { fdatasyncSync, renameSync, rmSync, statfsSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  partialPath,
  publishStaged,
  stageFile,
  syncDirectory,
  writeFully,
  writing,
} from "./atomic-file.ts";
import { makeDirectories } from "./directory.ts";
import { CheckpointError, shown } from "./errors.ts";
import { type EncodedHeader, encodeHeader } from "./safetensors.ts";
import { closeShard, createShard, type OpenShard, readFully, reopenShard } from "./shard-file.ts";
import { type ShardPlan, totalTensorBytes } from "./shard-plan.ts";

const indexName = "model.safetensors.index.json";

type Slot = {
  readonly shard: OpenShard;
  readonly begin: number;
  readonly end: number;
  /** Bytes that have come. */
  written: number;
};

/**
 * Starts a checkpoint in `dir`, which is created if needed. Nothing is visible under its final name before `finish`.
 *
 * @param metadata  strings for `__metadata__` of every file; `format: "pt"` is always added, loaders demand it
 * @param options  with `resume`, goes on with the files of a suspended or killed writer of the same plan; which tensors
 *   they hold is for the caller to know, see `accept`
 * @throws CheckpointError CHECKPOINT_WRITE if the directory cannot be written or the disk is too small for the plan
 */
export function createCheckpointWriter(
  dir: string,
  plan: readonly ShardPlan[],
  metadata: ReadonlyMap<string, string>,
  options: { readonly resume?: boolean } = {},
): CheckpointWriter {
  const absolute = resolve(dir);
  const strings = new Map([...metadata, ["format", "pt"] as const]);
  const headers = plan.map((shard) => encodeHeader(shard.entries, strings));
  const fileBytes = headers.reduce((sum, header) => sum + header.fileBytes, 0);
  writing(absolute, () => makeDirectories(absolute));
  const isResumed = options.resume ?? false;
  if (!isResumed) requireFreeSpace(absolute, fileBytes);
  return new CheckpointWriter(absolute, plan, headers, isResumed);
}

/** Made by `createCheckpointWriter`. Disposing it before `finish` removes what was written. */
export class CheckpointWriter implements Disposable, AsyncDisposable {
  readonly #dir: string;
  readonly #plan: readonly ShardPlan[];
  readonly #shards: OpenShard[] = [];
  readonly #slots = new Map<string, Slot>();
  readonly #missing: Set<string>;
  #isOpen = true;

  constructor(
    dir: string,
    plan: readonly ShardPlan[],
    headers: readonly EncodedHeader[],
    isResumed: boolean,
  ) {
    this.#dir = dir;
    this.#plan = plan;
    try {
      for (const [index, { file }] of plan.entries()) {
        const header = headers[index];
        if (header !== undefined) this.#addShard(join(dir, file), header, isResumed);
      }
    } catch (error) {
      if (isResumed) this.suspend();
      else this[Symbol.dispose]();
      throw error;
    }
    this.#missing = new Set(this.#slots.keys());
  }

  /** Names not written yet, in plan order. */
  get missing(): readonly string[] {
    return [...this.#missing];
  }

  /**
   * Writes one whole tensor; the call copies `bytes` to the operating system before it returns.
   *
   * @param bytes  little-endian elements in row-major order, exactly as many as the plan says
   * @throws CheckpointError CHECKPOINT_WRITE for an unknown name, a wrong byte count, a second write, a closed
   *   writer or an operating system error
   */
  write(name: string, bytes: Uint8Array): void {
    const slot = this.#writable(name);
    const needed = slot.end - slot.begin;
    if (bytes.byteLength !== needed || slot.written > 0) {
      const got = slot.written + bytes.byteLength;
      throw this.#refusal(name, `needs ${needed} bytes, got ${got}`);
    }
    this.append(name, bytes);
  }

  /**
   * Writes the next part of a tensor that is too large to hold at once; it counts as written when its last byte has
   * come.
   *
   * @throws CheckpointError CHECKPOINT_WRITE as `write` does, here for bytes beyond the tensor's end
   */
  append(name: string, bytes: Uint8Array): void {
    const slot = this.#writable(name);
    const { shard, begin, end } = slot;
    const { fd } = shard;
    if (fd === undefined) throw this.#refusal(name, "comes after the end");
    const left = end - begin - slot.written;
    if (bytes.byteLength > left) {
      throw this.#refusal(name, `needs ${left} more bytes, got ${bytes.byteLength}`);
    }
    writing(shard.path, () => writeFully(fd, bytes, begin + slot.written));
    slot.written += bytes.byteLength;
    if (slot.written === end - begin) this.#missing.delete(name);
  }

  #writable(name: string): Slot {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw this.#refusal(name, "is not part of the plan");
    if (!this.#isOpen) throw this.#refusal(name, "comes after the end");
    if (!this.#missing.has(name)) throw this.#refusal(name, "was already written");
    return slot;
  }

  /**
   * Makes sure that every tensor is there and on the disk, still under temporary names: what can fail for want of space
   * fails here.
   *
   * @throws CheckpointError CHECKPOINT_WRITE if a tensor was not written, or an operating system error
   */
  flush(): void {
    this.#requireComplete();
    for (const shard of this.#shards) writing(shard.path, () => closeShard(shard, true));
  }

  /**
   * Flushes, renames every file into place and writes the index. On an error nothing has its final name and the writer
   * stays open: it can go on, be suspended or be disposed.
   *
   * @throws CheckpointError CHECKPOINT_WRITE as `flush` does
   */
  finish(): void {
    this.#requireComplete();
    this.flush();
    this.#publish();
    this.#isOpen = false;
  }

  #requireComplete(): void {
    if (!this.#isOpen) throw this.#refusal("", "writer was finished or disposed already");
    const [first] = this.#missing;
    if (first !== undefined) {
      throw this.#refusal(first, `was never written (${this.#missing.size} missing in all)`);
    }
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const shard of this.#shards) {
      closeShard(shard, false);
      rmSync(partialPath(shard.path), { force: true });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
    return Promise.resolve();
  }

  /** Counts a tensor as written that the resumed files already hold. */
  accept(name: string): void {
    const slot = this.#writable(name);
    slot.written = slot.end - slot.begin;
    this.#missing.delete(name);
  }

  /** Reads a tensor back that was written or accepted. */
  read(name: string): Uint8Array<ArrayBuffer> {
    const slot = this.#slots.get(name);
    if (slot?.shard.fd === undefined || this.#missing.has(name)) {
      throw this.#refusal(name, "cannot be read back");
    }
    const { fd, path } = slot.shard;
    const bytes = new Uint8Array(slot.end - slot.begin);
    writing(path, () => readFully(fd, bytes, slot.begin));
    return bytes;
  }

  /** Makes what was written so far survive a power cut. */
  sync(): void {
    for (const { fd, path } of this.#shards) {
      if (fd !== undefined) writing(path, () => fdatasyncSync(fd));
    }
  }

  /** Closes the temporary files and keeps them, for a writer with `resume`. */
  suspend(): void {
    this.#isOpen = false;
    for (const shard of this.#shards) closeShard(shard, false);
  }

  #addShard(path: string, header: EncodedHeader, isResumed: boolean): void {
    writing(path, () => {
      const shard = isResumed ? reopenShard(path, header) : createShard(path, header);
      this.#shards.push(shard);
      for (const [name, range] of header.offsets)
        this.#slots.set(name, { shard, ...range, written: 0 });
    });
  }

  #publish(): void {
    const index = join(this.#dir, indexName);
    // Renaming comes after everything that needs room on the disk.
    stageFile(index, this.#indexJson());
    const renamed: string[] = [];
    try {
      // An index left from an earlier checkpoint must not describe the new files, not even if we are killed here.
      writing(index, () => rmSync(index, { force: true }));
      for (const { path, isPublished } of this.#shards) {
        if (isPublished) continue;
        writing(path, () => renameSync(partialPath(path), path));
        renamed.push(path);
      }
      writing(this.#dir, () => syncDirectory(this.#dir));
      publishStaged(index);
    } catch (error) {
      for (const path of renamed) renameSync(path, partialPath(path));
      rmSync(partialPath(index), { force: true });
      throw error;
    }
  }

  #indexJson(): string {
    const weightMap = Object.fromEntries(
      this.#plan.flatMap(({ file, entries }) => entries.map(({ name }) => [name, file])),
    );
    const contents = {
      metadata: { total_size: totalTensorBytes(this.#plan) },
      weight_map: weightMap,
    };
    return `${JSON.stringify(contents, null, 2)}\n`;
  }

  #refusal(name: string, problem: string): CheckpointError {
    const subject = name === "" ? problem : `tensor ${shown(name)} ${problem}`;
    return new CheckpointError("CHECKPOINT_WRITE", `${this.#dir}: ${subject}`);
  }
}

function requireFreeSpace(dir: string, bytes: number): void {
  const { bavail, bsize, blocks } = writing(dir, () => statfsSync(dir));
  // Some virtual file systems report no blocks at all; there the first failing write will tell.
  if (blocks === 0 || bytes <= bavail * bsize) return;
  throw new CheckpointError(
    "CHECKPOINT_WRITE",
    `${dir}: the checkpoint needs ${bytes} bytes, the disk has ${bavail * bsize} free; free some space or choose another output directory`,
  );
}
