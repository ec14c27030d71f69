// How much memory keys and values get.

import {
  cacheBytesPerToken,
  cacheTokensWithin,
  type Model,
  type ServedModel,
} from "../../runtime/index.ts";
import { UsageError } from "../errors.ts";
import { availableMemory } from "../memory.ts";
import { formatBytes, formatCount } from "../terminal/format.ts";

/** Sequences of full length that a cache is made for by default, if memory allows. */
const defaultSequences = 16;

/** The part of free memory that is taken by default: it is only reserved, and taken up as requests need it. */
const defaultShare = 0.25;

/** @throws UsageError if the memory asked for has no room for a request */
export function cacheTokensOf(model: Model, { kvMemory }: { readonly kvMemory?: number }): number {
  const { maxLength } = model.shape;
  const bytes = kvMemory ?? defaultShare * availableMemory();
  const tokens = cacheTokensWithin(model, bytes);
  if (kvMemory === undefined)
    return Math.max(maxLength, Math.min(tokens, defaultSequences * maxLength));
  if (tokens >= 64) return tokens;
  const perToken = cacheBytesPerToken({ ...model.shape, dtype: model.kvCache });
  throw new UsageError(
    `--kv-memory of ${formatBytes(bytes)} holds ${tokens} tokens, of ${formatBytes(perToken)} each; give more`,
  );
}

/** As a person wants to know it. */
export function describeCache(
  engine: ServedModel["engine"],
  { kvCache }: { readonly kvCache: string },
): string {
  const tokens = engine.stats.cacheBlocks.total * engine.stats.cacheBlocks.size;
  return `keys and values as ${kvCache} for ${formatCount(tokens)} tokens`;
}
