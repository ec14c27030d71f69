#include "core/device.h"

#include <cstring>
#include <string>
#include <utility>

namespace kernels {

Operations::~Operations() {
  if (graph_ != nullptr) accelerator_->ReleaseGraph(graph_);
}

void Operations::RunEach() const {
  for (const auto& operation : list_) operation();
}

namespace {

// While an accelerator captures, on the stream's thread.
thread_local bool is_capturing = false;

}  // namespace

void Operations::Capture() {
  is_capturing = true;
  try {
    RunEach();
  } catch (...) {
    is_capturing = false;
    try {
      accelerator_->ReleaseGraph(accelerator_->EndCapture());
    } catch (const Error&) {  // what went wrong first counts
    }
    throw;
  }
  is_capturing = false;
  graph_ = accelerator_->EndCapture();
}

void Operations::Run() {
  // Within another's capture its operations become part of that.
  if (is_capturing) return RunEach();
  if (graph_ == nullptr && (!has_run_ || !accelerator_ || !accelerator_->BeginCapture())) {
    RunEach();
    has_run_ = true;
    return;
  }
  if (graph_ == nullptr) Capture();
  accelerator_->Launch(graph_);
}

void Recording::Add(const std::shared_ptr<Storage>& storage) {
  if (storage->IsOf(*this)) made_.push_back(storage);
  Use(storage);
}

void Recording::Use(const std::shared_ptr<Storage>& storage) {
  if (!storage->IsOf(*this)) kept_.insert(storage);
}

void Recording::End(const std::shared_ptr<Device>& device) {
  for (const std::weak_ptr<Storage>& made : made_) {
    if (std::shared_ptr<Storage> storage = made.lock()) kept_.insert(std::move(storage));
  }
  for (const auto& [bytes, block] : spare_) kept_.insert(std::make_shared<Storage>(device, block));
  made_.clear();
  spare_.clear();
}

Allocator::Block Recording::Allocate(Device& device, size_t bytes) {
  const size_t wanted = Allocator::BlockBytes(bytes);
  const auto found = spare_.lower_bound(wanted);
  if (found == spare_.end() || !Allocator::IsFor(wanted, found->first)) {
    const Allocator::Block block = device.allocator().Allocate(bytes);
    device.on_memory(static_cast<int64_t>(block.bytes));
    return block;
  }
  const Allocator::Block block = found->second;
  spare_.erase(found);
  return block;
}

void Device::Enqueue(std::function<void()> operation) {
  if (recording == nullptr) {
    stream_.Push(std::move(operation));
  } else {
    recording->operations->Add(std::move(operation));
  }
}

uint64_t Device::Upload(std::byte* to, std::shared_ptr<MappedFile> file, size_t offset,
                        size_t bytes) {
  const uint64_t number = ++uploads_;
  stream_.Push([this, number, to, file = std::move(file), offset, bytes] {
    accelerator_->Upload(number, to, bytes,
                         // Not from the mapping: pages lost on another thread than the
                         // stream's would be laid to the operation that is running.
                         [file, offset](std::byte* part, size_t begin, size_t part_bytes) {
                           file->Read(part, static_cast<int64_t>(offset + begin),
                                      static_cast<int64_t>(part_bytes));
                         });
  });
  return number;
}

void Device::AwaitUploads(uint64_t number) {
  if (number <= awaited_uploads_) return;
  awaited_uploads_ = number;
  stream_.Push([this, number] { accelerator_->AwaitUploads(number); });
}

void Device::Write(std::byte* to, const std::byte* host, size_t bytes) const {
  if (bytes == 0) return;
  if (accelerator_ == nullptr) {
    std::memcpy(to, host, bytes);
  } else {
    accelerator_->Write(to, host, bytes);
  }
}

void Device::Read(std::byte* host, const std::byte* from, size_t bytes) const {
  if (bytes == 0) return;
  if (accelerator_ == nullptr) {
    std::memcpy(host, from, bytes);
  } else {
    accelerator_->Read(host, from, bytes);
  }
}

void Device::Clear(std::byte* data, size_t bytes) const {
  if (bytes == 0) return;
  if (accelerator_ == nullptr) {
    std::memset(data, 0, bytes);
  } else {
    accelerator_->Clear(data, bytes);
  }
}

Storage::Storage(std::shared_ptr<Device> device, size_t bytes)
    : device_(std::move(device)), recording_(device_->recording) {
  if (device_->recording != nullptr) {
    block_ = device_->recording->Allocate(*device_, bytes);
  } else {
    block_ = device_->allocator().Allocate(bytes);
    device_->on_memory(static_cast<int64_t>(block_.bytes));
  }
}

Storage::Storage(std::shared_ptr<Device> device, size_t bytes, Pinned)
    : device_(std::move(device)),
      pinned_(device_->accelerator()->AllocatePinned(bytes)),
      writable_(false) {
  if (pinned_ != nullptr) return;
  throw Error(Code::kOutOfMemory, "no memory for " + std::to_string(bytes) +
                                      " bytes that the GPU can read from the host");
}

Storage::~Storage() {
  if (pinned_ != nullptr) {
    device_->stream().PushAlways(
        [&accelerator = *device_->accelerator(), pinned = pinned_](const std::optional<Error>&) {
          accelerator.ReleasePinned(pinned);
        });
    return;
  }
  if (file_ == nullptr) {
    // Even where a fault kept it from being awaited.
    if (upload_ != 0) {
      device_->stream().PushAlways(
          [&accelerator = *device_->accelerator(), number = upload_](const std::optional<Error>&) {
            accelerator.DropUpload(number);
          });
    }
    const std::shared_ptr<Recording> recording = recording_.lock();
    if (recording != nullptr && recording == device_->recording) {
      recording->Release(block_);
      return;
    }
    device_->on_memory(-static_cast<int64_t>(block_.bytes));
    device_->allocator().Release(block_);
    return;
  }
  // The mapping goes when the operations before this point have read it.
  device_->stream().PushAlways([file = std::move(file_)](const std::optional<Error>&) {});
}

}  // namespace kernels
