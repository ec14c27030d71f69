#include "core/allocator.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace kernels {

namespace {

#if defined(KERNELS_SANITIZE)
// Nothing is kept and nothing rounded up, so that the sanitizer sees every overrun and stale use.
size_t CacheLimit(size_t) {
  return 0;
}
size_t RoundUp(size_t bytes) {
  return bytes;
}
std::byte* AllocateAligned(size_t bytes) {
  void* data = nullptr;
  return posix_memalign(&data, 64, bytes) == 0 ? static_cast<std::byte*>(data) : nullptr;
}
#else
// A quarter of what is live keeps the cost of page faults away without holding much memory back.
size_t CacheLimit(size_t live) {
  return std::max(size_t{64} << 20, live / 4);
}
size_t RoundUp(size_t bytes) {
  const size_t step = bytes < (size_t{1} << 20) ? 256 : size_t{64} << 10;
  return (bytes + step - 1) / step * step;
}
std::byte* AllocateAligned(size_t bytes) {
  return static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) & ~size_t{63}));
}
#endif

}  // namespace

Allocator::~Allocator() {
  for (auto& [bytes, data] : free_) std::free(data);
}

Allocator::Block Allocator::Allocate(size_t bytes) {
  const size_t wanted = RoundUp(std::max<size_t>(bytes, 1));
  Block block;
  const auto found = free_.lower_bound(wanted);
  if (found != free_.end() && found->first <= wanted + wanted / 4) {
    block = {found->second, found->first};
    cached_ -= found->first;
    free_.erase(found);
  } else {
    block = {AllocateAligned(wanted), wanted};
    if (block.data == nullptr) {
      throw Error(Code::kOutOfMemory, "no memory for a tensor of " + std::to_string(bytes) +
                                          " bytes; " + std::to_string(live_) + " are in use");
    }
  }
  live_ += block.bytes;
  peak_ = std::max(peak_, live_);
  return block;
}

void Allocator::Release(Block block) {
  live_ -= block.bytes;
  cached_ += block.bytes;
  free_.emplace(block.bytes, block.data);
  TrimTo(CacheLimit(live_));
}

void Allocator::TrimTo(size_t limit) {
  while (cached_ > limit && !free_.empty()) {
    const auto largest = std::prev(free_.end());
    cached_ -= largest->first;
    std::byte* data = largest->second;
    free_.erase(largest);
    // Operations that still use it are ahead in the stream.
    stream_.PushAlways([data](const std::optional<Error>&) { std::free(data); });
  }
}

}  // namespace kernels
