#include "core/thread_pool.h"

#include <cstdlib>
#include <string>
#include <utility>

#include "core/error.h"

namespace kernels {

namespace {

// About 20 microseconds: longer than the gap between two ops of a decode step, shorter than a
// scheduler slice, so an idle pool soon sleeps.
constexpr int kSpins = 4000;

// Pieces of one ParallelFor: what the lower half of a job holds.
constexpr uint64_t kMaxCount = 0xffffffff;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// `pass` passes the time until it is worth sleeping.
template <class T, class Pass>
void WaitWhileEqual(std::atomic<T>& value, T old, Pass pass) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pass();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads)
    : scratch_(threads < 1 ? 1 : threads), cursors_(threads < 1 ? 1 : threads) {
  try {
    for (int worker = 1; worker < threads; ++worker) {
      workers_.emplace_back([this, worker] { Work(worker); });
    }
  } catch (...) {  // the system has no more threads; those started must not outlive this
    Stop();
    throw;
  }
}

void ThreadPool::Stop() {
  stop_.store(true);
  wake_.fetch_add(1);
  wake_.notify_all();
  for (auto& thread : workers_) thread.join();
}

ThreadPool::~ThreadPool() {
  Stop();
  for (auto& buffer : scratch_) std::free(buffer.data);
  std::free(shared_.data);
}

void ThreadPool::ParallelFor(int64_t count, const std::function<void(int64_t, int)>& body) {
  if (count <= 1 || workers_.empty()) {
    for (int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  if (static_cast<uint64_t>(count) > kMaxCount)
    throw Error(Code::kInternal, "too many parallel pieces");
  body_ = &body;
  count_ = count;
  unfinished_.store(count, std::memory_order_relaxed);
  const uint64_t number = (job_.load(std::memory_order_relaxed) >> 32) + 1;
  job_.store(number << 32 | static_cast<uint64_t>(count), std::memory_order_release);
  wake_.fetch_add(1, std::memory_order_release);
  wake_.notify_all();
  RunShare(0);
  for (int64_t left = unfinished_.load(std::memory_order_acquire); left != 0;
       left = unfinished_.load(std::memory_order_acquire)) {
    WaitWhileEqual(unfinished_, left, Pause);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::ParallelStretches(int64_t count, const std::function<void(int64_t, int)>& body) {
  const int64_t stretches = threads();
  for (int64_t s = 0; s < stretches; ++s) {
    cursors_[s].next.store(count * s / stretches, std::memory_order_relaxed);
    cursors_[s].end = count * (s + 1) / stretches;
  }
  ParallelFor(stretches, [&](int64_t own, int worker) {
    for (int64_t s = 0; s < stretches; ++s) {
      Cursor& cursor = cursors_[(own + s) % stretches];
      for (int64_t index = cursor.next.fetch_add(1); index < cursor.end;
           index = cursor.next.fetch_add(1)) {
        body(index, worker);
      }
    }
  });
}

void ThreadPool::RunShare(int worker) {
  uint64_t job = job_.load(std::memory_order_acquire);
  while (true) {
    const uint64_t unclaimed = job & kMaxCount;
    if (unclaimed == 0) return;
    if (!job_.compare_exchange_weak(job, job - 1, std::memory_order_acq_rel)) continue;
    RunOne(count_ - static_cast<int64_t>(unclaimed), worker);
    job = job_.load(std::memory_order_acquire);
  }
}

void ThreadPool::RunOne(int64_t index, int worker) {
  try {
    (*body_)(index, worker);
  } catch (...) {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
  if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
}

void ThreadPool::Prefetch(const std::byte* data, size_t bytes) {
  prefetch_end_.store(0, std::memory_order_relaxed);
  if (data == nullptr) return;
  const auto begin = reinterpret_cast<uintptr_t>(data);
  prefetch_at_.store(begin, std::memory_order_relaxed);
  prefetch_end_.store(begin + bytes, std::memory_order_relaxed);
}

// A claim that crosses a new Prefetch may fetch something else; it is only fetching.
bool ThreadPool::PrefetchSome() {
  constexpr uintptr_t kLine = 64;
  constexpr uintptr_t kStep = 16 * kLine;
  const uintptr_t end = prefetch_end_.load(std::memory_order_relaxed);
  if (prefetch_at_.load(std::memory_order_relaxed) >= end) return false;
  const uintptr_t begin = prefetch_at_.fetch_add(kStep, std::memory_order_relaxed);
  if (begin >= end) return false;
  for (uintptr_t at = begin; at < begin + kStep; at += kLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
  }
  return true;
}

void ThreadPool::Work(int worker) {
  uint32_t seen = 0;
  while (true) {
    WaitWhileEqual(wake_, seen, [this] {
      if (!PrefetchSome()) Pause();
    });
    seen = wake_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    RunShare(worker);
  }
}

std::byte* ThreadPool::Scratch(int worker, size_t bytes) {
  return Grow(scratch_[worker], bytes);
}

std::byte* ThreadPool::Grow(Buffer& buffer, size_t bytes) {
  if (buffer.bytes < bytes) {
    const size_t rounded = (bytes + 4095) & ~size_t{4095};
    std::free(buffer.data);
    buffer = {};
    void* data = std::aligned_alloc(64, rounded);
    if (data == nullptr) {
      throw Error(Code::kOutOfMemory,
                  "no memory for " + std::to_string(rounded) + " bytes of scratch space");
    }
    buffer = {static_cast<std::byte*>(data), rounded};
  }
  return buffer.data;
}

}  // namespace kernels
