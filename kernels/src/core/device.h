#pragma once

#include <functional>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/context.h"
#include "core/mapped_file.h"
#include "core/stream.h"
#include "core/tensor.h"
#include "core/thread_pool.h"

namespace kernels {

class Storage;

// Operations to be run again, and the memory they use. The operations may go on any thread, the
// memory only on the owner's.
struct Recording {
  std::shared_ptr<std::vector<std::function<void()>>> operations =
      std::make_shared<std::vector<std::function<void()>>>();
  std::unordered_set<std::shared_ptr<Storage>> storages;
};

// A CPU device: one stream, the pool it computes with, and its memory.
class Device {
 public:
  Device(int threads, Isa isa)
      : pool_(threads),
        read_ahead_(pool_),
        context_{pool_, read_ahead_, isa},
        allocator_(stream_) {}

  const Context& context() const { return context_; }
  Stream& stream() { return stream_; }
  Allocator& allocator() { return allocator_; }

  // Runs an operation in stream order, or records it while there is a recording.
  void Enqueue(std::function<void()> operation);

  // While this is set, operations are recorded instead of run, and whoever names a storage to one
  // adds it.
  std::unique_ptr<Recording> recording;

  // Told of every change of the bytes that tensors hold; a binding passes it on to its collector.
  std::function<void(int64_t)> on_memory = [](int64_t) {};

 private:
  // Destroyed in reverse: the stream finishes its tasks before the memory and the pool go.
  ThreadPool pool_;
  ReadAhead read_ahead_;
  Context context_;
  Allocator allocator_;
  Stream stream_;
};

// Memory of one or more tensors; returned to its device, in stream order, with the last reference.
class Storage {
 public:
  Storage(std::shared_ptr<Device> device, size_t bytes)
      : device_(std::move(device)), block_(device_->allocator().Allocate(bytes)) {
    device_->on_memory(static_cast<int64_t>(block_.bytes));
  }
  Storage(std::shared_ptr<Device> device, std::shared_ptr<MappedFile> file)
      : device_(std::move(device)), file_(std::move(file)) {}
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return file_ ? file_->data() : block_.data; }
  const std::shared_ptr<Device>& device() const { return device_; }
  bool writable() const { return file_ == nullptr; }

 private:
  std::shared_ptr<Device> device_;
  Allocator::Block block_;
  std::shared_ptr<MappedFile> file_;
};

}  // namespace kernels
