#include "core/read_ahead.h"

#include <algorithm>

namespace kernels {

namespace {

// What a second-level cache and a share of the third hold.
constexpr size_t kBytes = size_t{2} << 20;

// Models have some hundred weights; a process that opens many models starts over.
constexpr size_t kWeights = 4096;

}  // namespace

void ReadAhead::Begin(const std::byte* weight, size_t bytes) {
  if (next_.size() >= kWeights) next_.clear();
  if (current_ != nullptr) next_[current_] = {weight, bytes};
  current_ = weight;
  const auto found = next_.find(weight);
  const Weight next = found == next_.end() ? Weight{} : found->second;
  pool_.Prefetch(next.data, std::min(next.bytes, kBytes));
}

}  // namespace kernels
