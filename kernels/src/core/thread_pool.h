#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace kernels {

// The compute threads of one device. The device's stream thread calls ParallelFor and takes part as
// worker 0, so `threads` is the number of cores kept busy.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Runs body(index, worker) for every index in [0, count) and returns when all are done. Indices
  // are handed out one at a time in ascending order, whoever is free first; so a body must give the
  // same result whichever worker runs it. The first exception is rethrown here.
  void ParallelFor(int64_t count, const std::function<void(int64_t index, int worker)>& body);

  // The same for bodies whose neighbours in index are neighbours in memory: each thread goes
  // through a stretch of its own from one end to the other, then helps where others have not come
  // yet.
  void ParallelStretches(int64_t count, const std::function<void(int64_t index, int worker)>& body);

  // Has workers that wait for work fetch these bytes into their caches meanwhile, in place of what
  // they were told before. The address need not be valid.
  void Prefetch(const std::byte* data, size_t bytes);

  // Scratch memory of one worker, 64-byte aligned, contents undefined; valid until the worker asks
  // again. Never call it for another worker's index.
  std::byte* Scratch(int worker, size_t bytes);

  // The same for the operation itself: what all its workers share.
  std::byte* Shared(size_t bytes) { return Grow(shared_, bytes); }

 private:
  // How far a stretch is done. Of a cache line of its own.
  struct alignas(64) Cursor {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  struct Buffer {
    std::byte* data = nullptr;
    size_t bytes = 0;
  };
  static std::byte* Grow(Buffer& buffer, size_t bytes);
  bool PrefetchSome();
  void Work(int worker);
  void RunShare(int worker);
  void RunOne(int64_t index, int worker);
  void Stop();

  std::vector<std::thread> workers_;
  std::vector<Buffer> scratch_;
  std::vector<Cursor> cursors_;
  Buffer shared_;
  // The job in progress: its number in the upper half, how many of its indices nobody has claimed
  // in the lower. Whoever lowers the count owns an index, and the job cannot end before that index
  // is done; so a thread that wakes late finds nothing to claim, and nobody waits for it.
  std::atomic<uint64_t> job_{0};
  // Valid while an index is claimed and not done.
  const std::function<void(int64_t, int)>* body_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> unfinished_{0};
  std::atomic<uint32_t> wake_{0};
  // What to fetch while waiting: from prefetch_at_ on, which only grows, up to prefetch_end_.
  std::atomic<uintptr_t> prefetch_at_{0};
  std::atomic<uintptr_t> prefetch_end_{0};
  std::atomic<bool> stop_{false};
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

}  // namespace kernels
