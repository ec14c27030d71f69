#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// The key/value cache is paged: position p of sequence s lives in block block_table[s, p /
// block_size], slot p % block_size. All of it is step state, so batches of any mix of prefill and
// decode rows need no other contract.

// Floats, or u8 codes with the grid of each row: {scale, offset} f16, value = scale * code + offset
// (ops/cache_quantization). Only a cache of codes has grids.

// Stores one key and one value row per token. bf16 and f16 round to even, f16 beyond 65504 to
// infinity; codes are rounded to nearest on the grid of their own row and head.
struct StoreCacheArgs {
  Tensor k;             // [rows, kv_heads * dim] f32
  Tensor v;             // [rows, kv_heads * dim] f32
  Tensor positions;     // [rows] i32, position of each row in its sequence
  Tensor row_sequence;  // [rows] i32, row of block_table
  Tensor block_table;   // [sequences, max_blocks] i32
  Tensor k_cache;       // [blocks, kv_heads, block_size, dim] f32 | f16 | bf16 | u8, inout
  Tensor v_cache;       // the same, inout
  Tensor k_grids;       // of u8: [blocks, kv_heads, block_size, 2] f16, inout; else empty
  Tensor v_grids;       // the same, inout
};
void CheckStoreCache(const StoreCacheArgs& args);
void StoreCache(const Context& context, const StoreCacheArgs& args);

// Rope of the queries and keys and then StoreCache of the keys and values, to the bit, in one: on a
// GPU one kernel. Queries and keys are left rotated in place, values as they are.
struct RopeStoreCacheArgs {
  // [rows, (heads + 2 * kv_heads) * dim] f32: a row's queries, keys and values side by side, inout
  Tensor qkv;
  Tensor table;      // [rows, dim] f32, from RopeTable
  Tensor positions;  // these as in StoreCacheArgs
  Tensor row_sequence;
  Tensor block_table;
  Tensor k_cache;
  Tensor v_cache;
  Tensor k_grids;
  Tensor v_grids;
};
void CheckRopeStoreCache(const RopeStoreCacheArgs& args);
void RopeStoreCache(const Context& context, const RopeStoreCacheArgs& args);

// Causal attention: row r sees positions 0 .. positions[r] of its sequence, all already stored.
// y = softmax(query_scale[r] * q k^T) v per head; query head h uses kv head h / (heads / kv_heads).
// A row of y has the same bits whatever the other rows are.
struct AttentionArgs {
  Tensor q;             // [rows, heads * dim] f32
  Tensor k_cache;       // [blocks, kv_heads, block_size, dim] f32 | f16 | bf16 | u8
  Tensor v_cache;       // the same
  Tensor k_grids;       // of u8: [blocks, kv_heads, block_size, 2] f16; else empty
  Tensor v_grids;       // the same
  Tensor positions;     // [rows] i32
  Tensor row_sequence;  // [rows] i32
  Tensor block_table;   // [sequences, max_blocks] i32
  Tensor query_scale;   // [rows] f32: 1 / sqrt(dim), times LogN's factor where that is on
  Tensor y;             // [rows, heads * dim] f32, out
};
void CheckAttention(const AttentionArgs& args);
void Attention(const Context& context, const AttentionArgs& args);

}  // namespace kernels
