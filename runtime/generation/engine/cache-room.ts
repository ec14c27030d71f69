// How an engine divides the memory of keys and values.
import type { Device } from "../../../kernels/index.ts";
import { cacheBytesPerToken } from "../../cache/kv-cache.ts";
import type { Model } from "../../model/index.ts";

/** Positions that lie together: fewer are shared more often, more are read faster. */
export const blockSize = 16;

/** Whether batches are filled up with idle rows. On the processor a row takes its time, idle or not. */
export function hasIdleRows(device: Device): boolean {
  return device.kind !== "cpu";
}

/** Tokens of requests that fit so many bytes, beside the block of idle rows where the model's device has those. */
export function cacheTokensWithin(model: Model, bytes: number): number {
  const tokens = Math.floor(bytes / cacheBytesPerToken({ ...model.shape, dtype: model.kvCache }));
  return Math.max(0, tokens - (hasIdleRows(model.device) ? blockSize : 0));
}
