#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>

#include "core/accelerator.h"
#include "core/stream.h"

namespace kernels {

// Stream-ordered memory: a block that is released may be handed out again at once, because whatever
// uses it next runs after everything enqueued before. So peak memory is that of sequential
// execution, however far the caller runs ahead. Called from the owner's thread only.
class Allocator {
 public:
  // Of the accelerator's memory, or of the host's where there is none.
  Allocator(Stream& stream, Accelerator* accelerator)
      : stream_(stream), accelerator_(accelerator) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  struct Block {
    std::byte* data = nullptr;
    size_t bytes = 0;
  };

  // At least `bytes` bytes, 64-byte aligned, contents undefined. Throws Error kOutOfMemory.
  Block Allocate(size_t bytes);
  void Release(Block block);
  // The bytes of a new block for so many.
  static size_t BlockBytes(size_t bytes);
  // Whether a larger block may take its place: not where much of it would lie idle.
  static bool IsFor(size_t block_bytes, size_t larger) {
    return larger <= block_bytes + block_bytes / 4;
  }

  size_t live_bytes() const { return live_; }
  size_t cached_bytes() const { return cached_; }
  size_t peak_bytes() const { return peak_; }
  void ResetPeak() { peak_ = live_; }

 private:
  std::byte* New(size_t bytes);
  void Delete(Block block);
  void TrimTo(size_t limit);

  Stream& stream_;
  Accelerator* accelerator_;
  std::list<Block> cache_;  // oldest first
  std::multimap<size_t, std::list<Block>::iterator> by_size_;
  size_t live_ = 0;
  size_t cached_ = 0;
  size_t peak_ = 0;
};

}  // namespace kernels
