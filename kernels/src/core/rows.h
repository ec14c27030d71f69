#pragma once

#include <algorithm>
#include <cstdint>

#include "core/thread_pool.h"

namespace kernels {

// Elements of simple per-element work that make a chunk worth a thread's wake-up.
constexpr int64_t kChunkElements = 16384;

// Runs body(begin, end, worker) over [0, rows) in chunks of whole rows of `row_elements` each.
// Small work stays in one chunk on the calling thread. Chunks do not depend on the number of
// threads.
template <class Body>
void ForRows(ThreadPool& pool, int64_t rows, int64_t row_elements, const Body& body) {
  const int64_t step = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, row_elements));
  pool.ParallelFor((rows + step - 1) / step, [&](int64_t chunk, int worker) {
    const int64_t begin = chunk * step;
    body(begin, std::min(rows, begin + step), worker);
  });
}

}  // namespace kernels
