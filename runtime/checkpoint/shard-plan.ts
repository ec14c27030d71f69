// Which tensor goes into which file, decided before a byte is written.

import { type TensorSpec, tensorBytes } from "./dtype.ts";
import { CheckpointError, shown } from "./errors.ts";

export type ShardPlan = {
  /** File name, without directory. */
  readonly file: string;
  readonly entries: readonly TensorSpec[];
  /** Bytes of the tensors, without the header. */
  readonly tensorBytes: number;
};

/**
 * Fills shards in the given order. A tensor larger than `maxShardBytes` gets a shard of its own. One shard is called
 * model.safetensors, several model-00001-of-0000n.safetensors: the names every loader of Qwen checkpoints looks for.
 *
 * @throws CheckpointError CHECKPOINT_WRITE for no entries, a duplicate name, a bad shape or a bad limit
 */
export function planShards(
  entries: readonly TensorSpec[],
  maxShardBytes: number,
): readonly ShardPlan[] {
  if (!Number.isSafeInteger(maxShardBytes) || maxShardBytes < 1) {
    throw new CheckpointError(
      "CHECKPOINT_WRITE",
      `maximum shard size must be a positive integer of bytes, got ${maxShardBytes}`,
    );
  }
  if (entries.length === 0) {
    throw new CheckpointError(
      "CHECKPOINT_WRITE",
      "a checkpoint needs at least one tensor, got none",
    );
  }
  refuseDuplicates(entries);
  const groups: { entries: TensorSpec[]; bytes: number }[] = [];
  for (const entry of entries) {
    const bytes = tensorBytes(entry, "output", "CHECKPOINT_WRITE");
    const last = groups.at(-1);
    if (last !== undefined && last.bytes + bytes <= maxShardBytes) {
      last.entries.push(entry);
      last.bytes += bytes;
    } else {
      groups.push({ entries: [entry], bytes });
    }
  }
  return groups.map((group, index) => ({
    file: shardName(index, groups.length),
    entries: group.entries,
    tensorBytes: group.bytes,
  }));
}

/** @returns bytes of all tensors, which the index calls total_size */
export function totalTensorBytes(plan: readonly ShardPlan[]): number {
  return plan.reduce((sum, shard) => sum + shard.tensorBytes, 0);
}

function shardName(index: number, count: number): string {
  if (count === 1) return "model.safetensors";
  const digits = (value: number) => String(value).padStart(5, "0");
  return `model-${digits(index + 1)}-of-${digits(count)}.safetensors`;
}

function refuseDuplicates(entries: readonly TensorSpec[]): void {
  const names = new Set<string>();
  for (const { name } of entries) {
    if (names.has(name)) {
      throw new CheckpointError(
        "CHECKPOINT_WRITE",
        `output: tensor ${shown(name)} is listed twice`,
      );
    }
    names.add(name);
  }
}
