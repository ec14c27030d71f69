#include "core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <future>
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
std::byte* NewOnHost(size_t bytes) {
  void* data = nullptr;
  return posix_memalign(&data, 64, bytes) == 0 ? static_cast<std::byte*>(data) : nullptr;
}
void DeleteOnHost(Allocator::Block block) {
  std::free(block.data);
}
#else
// A quarter of what is live keeps the cost of page faults away without holding much memory back.
size_t CacheLimit(size_t live) {
  return std::max(size_t{64} << 20, live / 4);
}

// From here on a block has pages of its own. They become resident when an operation touches them
// and go when the stream comes to their release, so that a caller who is far ahead costs address
// space only; the heap would keep them.
constexpr size_t kOwnPages = size_t{256} << 10;

size_t RoundUp(size_t bytes) {
  const size_t step = bytes < kOwnPages ? 256 : size_t{64} << 10;
  return (bytes + step - 1) / step * step;
}

constexpr size_t kHugePage = size_t{2} << 20;

std::byte* Map(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
}

std::byte* NewOnHost(size_t bytes) {
  if (bytes < kOwnPages) return static_cast<std::byte*>(std::aligned_alloc(64, bytes));
  if (bytes < kHugePage) return Map(bytes);
  // Aligned, so that all of it but the end can lie in huge pages: a third faster to stream.
  std::byte* data = Map(bytes + kHugePage);
  if (data == nullptr) return nullptr;
  const size_t before = -reinterpret_cast<uintptr_t>(data) % kHugePage;
  if (before > 0) munmap(data, before);
  if (before < kHugePage) munmap(data + before + bytes, kHugePage - before);
  madvise(data + before, bytes, MADV_HUGEPAGE);
  return data + before;
}

void DeleteOnHost(Allocator::Block block) {
  if (block.bytes < kOwnPages) {
    std::free(block.data);
  } else {
    munmap(block.data, block.bytes);
  }
}
#endif

}  // namespace

std::byte* Allocator::New(size_t bytes) {
  if (accelerator_ == nullptr) return NewOnHost(bytes);
  std::byte* data = accelerator_->Allocate(bytes);
  if (data != nullptr) return data;
  // What is kept for reuse may be what is missing.
  TrimTo(0);
  std::promise<void> trimmed;
  stream_.PushAlways([&trimmed](const std::optional<Error>&) { trimmed.set_value(); });
  trimmed.get_future().wait();
  return accelerator_->Allocate(bytes);
}

void Allocator::Delete(Block block) {
  if (accelerator_ == nullptr) {
    DeleteOnHost(block);
  } else {
    accelerator_->Release(block.data);
  }
}

Allocator::~Allocator() {
  for (const Block& block : cache_) Delete(block);
}

size_t Allocator::BlockBytes(size_t bytes) {
  return RoundUp(std::max<size_t>(bytes, 1));
}

Allocator::Block Allocator::Allocate(size_t bytes) {
  const size_t wanted = BlockBytes(bytes);
  Block block;
  const auto found = by_size_.lower_bound(wanted);
  if (found != by_size_.end() && IsFor(wanted, found->first)) {
    block = *found->second;
    cached_ -= block.bytes;
    cache_.erase(found->second);
    by_size_.erase(found);
  } else {
    block = {New(wanted), wanted};
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
  by_size_.emplace(block.bytes, cache_.insert(cache_.end(), block));
  TrimTo(CacheLimit(live_));
}

// The oldest goes first: sizes that are no longer asked for must not crowd out those in use.
void Allocator::TrimTo(size_t limit) {
  while (cached_ > limit) {
    const Block oldest = cache_.front();
    const auto [first, last] = by_size_.equal_range(oldest.bytes);
    by_size_.erase(std::find_if(
        first, last, [this](const auto& entry) { return entry.second == cache_.begin(); }));
    cache_.pop_front();
    cached_ -= oldest.bytes;
    // Operations that still use it are ahead in the stream.
    stream_.PushAlways([this, oldest](const std::optional<Error>&) { Delete(oldest); });
  }
}

}  // namespace kernels
