#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace kernels {

// Finds the row of a key or value that belongs to a position of a sequence.
struct Pages {
  const int32_t* blocks;  // the sequence's row of the block table
  int64_t kv_heads;
  int64_t block_size;
  int64_t dim;

  // Where (position, head) is among the rows of dim elements. The block must have been validated.
  int64_t Row(int64_t position, int64_t head) const {
    const int64_t block = blocks[position / block_size];
    return (block * kv_heads + head) * block_size + position % block_size;
  }
};

inline Pages PagesOf(const Tensor& cache, const Tensor& block_table, int64_t sequence) {
  return {block_table.Row<int32_t>(sequence), cache.shape[1], cache.shape[2], cache.shape[3]};
}

// The step state comes from tensors, so it is checked when the operation runs: throws Error kValue
// unless every row names a sequence of the table and a position within it. With `whole`, every
// block up to that position must be one of the cache's; otherwise only the position's own.
void RequirePositions(const char* op, const Tensor& positions, const Tensor& row_sequence,
                      const Tensor& block_table, const Tensor& cache, bool whole);

}  // namespace kernels
