#pragma once

#include <memory>

#include "core/allocator.h"
#include "core/context.h"
#include "core/mapped_file.h"
#include "core/stream.h"
#include "core/tensor.h"
#include "core/thread_pool.h"

namespace kernels {

// A CPU device: one stream, the pool it computes with, and its memory.
class Device {
 public:
  Device(int threads, Isa isa) : pool_(threads), context_{pool_, isa}, allocator_(stream_) {}

  const Context& context() const { return context_; }
  Stream& stream() { return stream_; }
  Allocator& allocator() { return allocator_; }

  // Checks the arguments now, runs the operation in its turn.
  template <class Args>
  void Enqueue(void (*check)(const Args&), void (*run)(const Context&, const Args&),
               const Args& args) {
    check(args);
    stream_.Push([this, run, args] { run(context_, args); });
  }

 private:
  // Destroyed in reverse: the stream finishes its tasks before the memory and the pool go.
  ThreadPool pool_;
  Context context_;
  Allocator allocator_;
  Stream stream_;
};

// Memory of one or more tensors; returned to its device, in stream order, with the last reference.
class Storage {
 public:
  Storage(std::shared_ptr<Device> device, size_t bytes)
      : device_(std::move(device)), block_(device_->allocator().Allocate(bytes)) {}
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
