#pragma once

#include <functional>
#include <map>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/accelerator.h"
#include "core/allocator.h"
#include "core/context.h"
#include "core/mapped_file.h"
#include "core/stream.h"
#include "core/tensor.h"
#include "core/thread_pool.h"

namespace kernels {

class Device;
class Storage;

// Operations in the order in which they were recorded. After they have run once, with which an
// accelerator's scratch has the size they need, it runs them as one graph.
class Operations {
 public:
  explicit Operations(Accelerator* accelerator) : accelerator_(accelerator) {}
  ~Operations();
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;

  void Add(std::function<void()> operation) { list_.push_back(std::move(operation)); }
  // On the stream.
  void Run();

 private:
  void RunEach() const;
  void Capture();

  Accelerator* accelerator_;
  std::vector<std::function<void()>> list_;
  bool has_run_ = false;
  void* graph_ = nullptr;
};

// Operations to be run again, and the memory they use. The operations may go on any thread, the
// memory only on the owner's. A tensor that is made and given up while recording gives its memory
// to those made later: the operations run in their order, so the recording needs no more than
// running them would.
class Recording {
 public:
  explicit Recording(Accelerator* accelerator)
      : operations(std::make_shared<Operations>(accelerator)) {}

  // A storage was made meanwhile, whether or not an operation will use it.
  void Add(const std::shared_ptr<Storage>& storage);
  // An operation uses a storage.
  void Use(const std::shared_ptr<Storage>& storage);
  // The memory that another recording needs.
  void Use(const Recording& inner) { kept_.insert(inner.kept_.begin(), inner.kept_.end()); }
  // No more operations come. What is still referred to, and what is not, is kept from here on.
  void End(const std::shared_ptr<Device>& device);

  // For a storage that is made meanwhile, and of one that goes.
  Allocator::Block Allocate(Device& device, size_t bytes);
  void Release(Allocator::Block block) { spare_.emplace(block.bytes, block); }

  std::shared_ptr<Operations> operations;

 private:
  std::unordered_set<std::shared_ptr<Storage>> kept_;
  std::vector<std::weak_ptr<Storage>> made_;
  std::multimap<size_t, Allocator::Block> spare_;
};

// A device: one stream, what computes (the host's pool of threads, or an accelerator), and its
// memory.
class Device {
 public:
  Device(int threads, Isa isa)
      : pool_(threads),
        read_ahead_(pool_),
        context_{pool_, read_ahead_, isa},
        allocator_(stream_, nullptr) {}
  explicit Device(std::unique_ptr<Accelerator> accelerator)
      : accelerator_(std::move(accelerator)),
        pool_(1),
        read_ahead_(pool_),
        context_{pool_, read_ahead_, Isa::kScalar},
        allocator_(stream_, accelerator_.get()) {}

  const Context& context() const { return context_; }
  Stream& stream() { return stream_; }
  Allocator& allocator() { return allocator_; }
  Accelerator* accelerator() const { return accelerator_.get(); }  // null for the host

  // Runs an operation in stream order, or records it while there is a recording.
  void Enqueue(std::function<void()> operation);

  // Copies part of a file to an accelerator's memory beside the operations; the number of the
  // upload. Called from the owner's thread, as is AwaitUploads.
  uint64_t Upload(std::byte* to, std::shared_ptr<MappedFile> file, size_t offset, size_t bytes);
  // What is enqueued from here on, or recorded, finds the uploads up to a number.
  void AwaitUploads(uint64_t number);

  // In stream order, from memory of the host or to it.
  void Write(std::byte* to, const std::byte* host, size_t bytes) const;
  void Read(std::byte* host, const std::byte* from, size_t bytes) const;
  void Clear(std::byte* data, size_t bytes) const;

  // While this is set, operations are recorded instead of run, and whoever names a storage to one
  // says so.
  std::shared_ptr<Recording> recording;

  // Told of every change of the bytes that tensors hold; a binding passes it on to its collector.
  std::function<void(int64_t)> on_memory = [](int64_t) {};

 private:
  // Destroyed in reverse: the stream finishes its tasks before the memory and the pool go.
  std::unique_ptr<Accelerator> accelerator_;
  ThreadPool pool_;
  ReadAhead read_ahead_;
  Context context_;
  Allocator allocator_;
  uint64_t uploads_ = 0;
  uint64_t awaited_uploads_ = 0;
  Stream stream_;
};

// Memory of one or more tensors; returned to its device, in stream order, with the last reference.
class Storage {
 public:
  Storage(std::shared_ptr<Device> device, size_t bytes);
  // Of a block that another had.
  Storage(std::shared_ptr<Device> device, Allocator::Block block)
      : device_(std::move(device)), block_(block) {}
  Storage(std::shared_ptr<Device> device, std::shared_ptr<MappedFile> file)
      : device_(std::move(device)), file_(std::move(file)), writable_(false) {}
  struct Pinned {};
  // Of an accelerator's device: the host's memory, see Accelerator::AllocatePinned.
  Storage(std::shared_ptr<Device> device, size_t bytes, Pinned);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const {
    if (file_) return file_->data();
    return pinned_ != nullptr ? pinned_ : block_.data;
  }
  const std::shared_ptr<Device>& device() const { return device_; }
  bool writable() const { return writable_; }
  void ForbidWriting() { writable_ = false; }
  // Whether it was made in a recording that goes on.
  bool IsOf(const Recording& recording) const { return recording_.lock().get() == &recording; }

  // Fills an accelerator's memory with part of a file, beside the operations. Whoever enqueues one
  // that uses it calls BeforeUse first.
  void Upload(std::shared_ptr<MappedFile> file, size_t offset, size_t bytes) {
    upload_ = device_->Upload(block_.data, std::move(file), offset, bytes);
  }
  void BeforeUse() const { device_->AwaitUploads(upload_); }

 private:
  std::shared_ptr<Device> device_;
  Allocator::Block block_;
  std::shared_ptr<MappedFile> file_;
  std::byte* pinned_ = nullptr;
  uint64_t upload_ = 0;                 // 0: there was none
  std::weak_ptr<Recording> recording_;  // it was made in
  bool writable_ = true;
};

}  // namespace kernels
