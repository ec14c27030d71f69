#pragma once

#include "ops/attention/attention.h"
#include "ops/attention/pages.h"
#include "ops/cache_quantization/grid.h"

namespace kernels {

constexpr int kTile = 64;          // positions of a key tile, aligned to position 0
constexpr int kBlockQueries = 32;  // queries that share the loads of a key tile

// Queries (a head of a row each) that read the same keys: same sequence, same key head.
struct QueryBlock {
  Pages pages;
  const std::byte* k_cache;
  const std::byte* v_cache;
  const CacheGrid* k_grids;  // of codes only, one for each row of the cache
  const CacheGrid* v_grids;
  int64_t kv_head;
  int queries;
  const float* q[kBlockQueries];
  float* y[kBlockQueries];
  float scale[kBlockQueries];
  int64_t visible[kBlockQueries];  // how many positions, from 0 on, the query sees
  float* scratch;                  // [kBlockQueries, kTile + dim]
};

// Validates the step state, forms the blocks and runs attend(block) on the pool for each of them.
// How queries are grouped must not influence what attend computes for one of them.
void ForQueryBlocks(const Context& context, const AttentionArgs& args,
                    void (*attend)(const QueryBlock& block));

}  // namespace kernels
