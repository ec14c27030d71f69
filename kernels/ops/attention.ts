import { call } from "../native.ts";
import type { CacheTensor, F32, I32 } from "./types.ts";

/** Which row belongs where: the part of a step's state that the cache operations share. */
export type CacheRows = {
  /** [rows], position of each row in its sequence */
  readonly positions: I32;
  /** [rows], row of `blockTable` */
  readonly rowSequence: I32;
  /** [sequences, blocks per sequence], the cache block that holds each stretch of positions */
  readonly blockTable: I32;
};

/** One layer's keys and values, each [blocks, kvHeads, blockSize, dim]. */
export type CacheLayer = { readonly k: CacheTensor; readonly v: CacheTensor };

/**
 * Stores the keys and values of a step's rows; an f16 cache rounds them to even, beyond 65504 to infinity.
 *
 * @param k  [rows, kvHeads · dim]
 * @param v  [rows, kvHeads · dim]
 */
export function storeCache(k: F32, v: F32, rows: CacheRows, cache: CacheLayer): void {
  call((addon) =>
    addon.storeCache(
      k.device.handle,
      k.handle,
      v.handle,
      rows.positions.handle,
      rows.rowSequence.handle,
      rows.blockTable.handle,
      cache.k.handle,
      cache.v.handle,
    ),
  );
}

/**
 * Causal attention of every row over its own sequence, positions 0 to its own, which must be stored.
 *
 * @param q           [rows, heads · dim]; heads may be a multiple of the cache's
 * @param queryScale  [rows], what q · kᵀ is multiplied by
 * @returns [rows, heads · dim]
 */
export function attention(q: F32, cache: CacheLayer, rows: CacheRows, queryScale: F32): F32 {
  const y = q.device.empty("f32", q.shape);
  call((addon) =>
    addon.attention(
      q.device.handle,
      q.handle,
      cache.k.handle,
      cache.v.handle,
      rows.positions.handle,
      rows.rowSequence.handle,
      rows.blockTable.handle,
      queryScale.handle,
      y.handle,
    ),
  );
  return y;
}
