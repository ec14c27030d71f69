import { call } from "../native.ts";
import type { Tensor } from "../tensor.ts";
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
export type CacheLayer = {
  readonly k: CacheTensor;
  readonly v: CacheTensor;
  /**
   * Of u8 codes, and only of them: [blocks, kvHeads, blockSize, 2], the scale and the offset that make a value of a
   * code, scale · code + offset
   */
  readonly grids?: { readonly k: Tensor<"f16">; readonly v: Tensor<"f16"> } | undefined;
};

/** What an operation that stores passes of both. */
const storing = ({ positions, rowSequence, blockTable }: CacheRows, { k, v, grids }: CacheLayer) =>
  [
    ...[positions.handle, rowSequence.handle, blockTable.handle, k.handle, v.handle],
    ...[grids?.k.handle ?? null, grids?.v.handle ?? null],
  ] as const;

/**
 * Stores the keys and values of a step's rows. 16-bit floats round them to even, f16 beyond 65504 to infinity; 8-bit codes are
 * the nearest of 256 values from the least to the largest of one token's key or value of one head, or of none if one of
 * them is not finite: what reads them then comes out as NaN.
 *
 * @param k  [rows, kvHeads · dim]
 * @param v  [rows, kvHeads · dim]
 */
export function storeCache(k: F32, v: F32, rows: CacheRows, cache: CacheLayer): void {
  call((addon) => addon.storeCache(k.device.handle, k.handle, v.handle, ...storing(rows, cache)));
}

/**
 * rope of the queries and keys and then storeCache of the keys and values, to the bit, in one: on a GPU one kernel.
 * Queries and keys are left rotated in place, values as they are.
 *
 * @param qkv    [rows, (heads + 2 · kvHeads) · dim], a row's queries, keys and values side by side
 * @param table  [rows, dim] from ropeTable
 */
export function ropeStoreCache(qkv: F32, table: F32, rows: CacheRows, cache: CacheLayer): void {
  call((addon) =>
    addon.ropeStoreCache(qkv.device.handle, qkv.handle, table.handle, ...storing(rows, cache)),
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
      cache.grids?.k.handle ?? null,
      cache.grids?.v.handle ?? null,
      rows.positions.handle,
      rows.rowSequence.handle,
      rows.blockTable.handle,
      queryScale.handle,
      y.handle,
    ),
  );
  return y;
}
