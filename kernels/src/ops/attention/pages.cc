#include "ops/attention/pages.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"

namespace kernels {

namespace {

[[noreturn]] void Fail(const char* op, const std::string& message) {
  throw Error(Code::kValue, std::string(op) + ": " + message);
}

}  // namespace

void RequirePositions(const char* op, const Tensor& positions, const Tensor& row_sequence,
                      const Tensor& block_table, const Tensor& cache, bool whole) {
  const int32_t* position = positions.As<int32_t>();
  const int32_t* sequence = row_sequence.As<int32_t>();
  const int64_t sequences = block_table.shape[0];
  const int64_t limit = block_table.shape[1] * cache.shape[2];
  // Blocks of each sequence found valid so far: a long prefill checks each block once.
  std::vector<int64_t> valid(whole ? sequences : 0, 0);
  for (int64_t r = 0; r < positions.shape[0]; ++r) {
    const auto is = [r](const char* name, int32_t value) {
      return std::string(name) + "[" + std::to_string(r) + "] is " + std::to_string(value);
    };
    if (sequence[r] < 0 || sequence[r] >= sequences) {
      Fail(op, is("row_sequence", sequence[r]) + "; block_table has " + std::to_string(sequences) +
                   " sequences");
    }
    if (position[r] < 0 || position[r] >= limit) {
      Fail(op, is("positions", position[r]) + "; block_table has room for " +
                   std::to_string(limit) + " positions of a sequence");
    }
    const int64_t last = position[r] / cache.shape[2];
    const int32_t* blocks = block_table.Row<int32_t>(sequence[r]);
    for (int64_t b = whole ? valid[sequence[r]] : last; b <= last; ++b) {
      if (blocks[b] < 0 || blocks[b] >= cache.shape[0]) {
        Fail(op, "block_table[" + std::to_string(sequence[r]) + ", " + std::to_string(b) + "] is " +
                     std::to_string(blocks[b]) + "; the cache has " +
                     std::to_string(cache.shape[0]) + " blocks");
      }
    }
    if (whole) valid[sequence[r]] = std::max(valid[sequence[r]], last + 1);
  }
}

}  // namespace kernels
