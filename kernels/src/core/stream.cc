#include "core/stream.h"

#include <new>
#include <utility>

#include "core/mapped_file.h"

namespace kernels {

Stream::Stream() : thread_([this] { Loop(); }) {}

Stream::~Stream() {
  Join();
}

void Stream::Abandon() {
  abandoned_ = true;
  Join();
}

void Stream::Join() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Stream::Push(std::function<void()> operation) {
  Enqueue({std::move(operation), nullptr});
}

void Stream::PushAlways(std::function<void(const std::optional<Error>&)> task) {
  Enqueue({nullptr, std::move(task)});
}

void Stream::Enqueue(Task task) {
  if (!thread_.joinable()) {
    Run(task);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void Stream::Loop() {
  std::deque<Task> batch;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      std::swap(batch, queue_);
    }
    while (!batch.empty()) {
      Run(batch.front());
      batch.pop_front();  // at once: a task may hold host memory or a mapped file
    }
  }
}

void Stream::Run(Task& task) {
  if (abandoned_ && !fault_) fault_ = Error(Code::kDevice, "the device was stopped");
  if (task.always) {
    task.always(fault_);
    return;
  }
  if (fault_) return;
  const int64_t losses = MappedFile::Losses();
  try {
    task.operation();
    MappedFile::RequireNoLossSince(losses);
  } catch (const Error& error) {
    fault_ = error;
  } catch (const std::bad_alloc&) {
    fault_ = Error(Code::kOutOfMemory, "out of host memory while an operation ran");
  } catch (const std::exception& error) {
    fault_ = Error(Code::kInternal, error.what());
  }
}

}  // namespace kernels
