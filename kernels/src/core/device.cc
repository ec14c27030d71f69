#include "core/device.h"

#include <utility>

namespace kernels {

void Device::Enqueue(std::function<void()> operation) {
  if (recording == nullptr) {
    stream_.Push(std::move(operation));
  } else {
    recording->operations->push_back(std::move(operation));
  }
}

Storage::~Storage() {
  if (file_ == nullptr) {
    device_->on_memory(-static_cast<int64_t>(block_.bytes));
    device_->allocator().Release(block_);
    return;
  }
  // The mapping goes when the operations before this point have read it.
  device_->stream().PushAlways([file = std::move(file_)](const std::optional<Error>&) {});
}

}  // namespace kernels
