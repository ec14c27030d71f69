#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"

namespace kernels {

// Runs tasks one after another, in the order they were pushed, on a thread of its own. The first
// task that throws makes the stream faulty: later operations are skipped, only `always` tasks
// (which free memory and answer waits) still run.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void Push(std::function<void()> operation);
  void PushAlways(std::function<void(const std::optional<Error>& fault)> task);

  // Lets the operation that is running end, faults the stream so that those after it are skipped,
  // and returns when the stream's thread has ended. Later `always` tasks run where they are pushed.
  void Abandon();

 private:
  struct Task {
    std::function<void()> operation;
    std::function<void(const std::optional<Error>&)> always;
  };
  void Enqueue(Task task);
  void Loop();
  void Run(Task& task);
  void Join();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool stop_ = false;
  std::atomic<bool> abandoned_{false};
  std::optional<Error> fault_;  // touched by the stream's thread only, while there is one
  std::thread thread_;
};

}  // namespace kernels
