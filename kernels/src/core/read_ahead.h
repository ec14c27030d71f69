#pragma once

#include <cstddef>
#include <unordered_map>

#include "core/thread_pool.h"

namespace kernels {

// Steps of one token read the same weights in the same order again and again, and are bound by
// memory; between two products there is little work that only one thread does. So the order is
// learned, and threads that wait for work fetch the beginning of the next weight into their caches.
// Used by the stream's thread only. Nothing but time depends on it: a weight that is gone by then
// is only an address, which fetching ahead may name without harm.
class ReadAhead {
 public:
  explicit ReadAhead(ThreadPool& pool) : pool_(pool) {}

  // A product begins to read a weight: threads that find nothing left of it to do fetch the next.
  void Begin(const std::byte* weight, size_t bytes);

 private:
  struct Weight {
    const std::byte* data = nullptr;
    size_t bytes = 0;
  };
  ThreadPool& pool_;
  std::unordered_map<const std::byte*, Weight> next_;
  const std::byte* current_ = nullptr;
};

}  // namespace kernels
