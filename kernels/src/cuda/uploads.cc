#include "cuda/uploads.h"

#include <algorithm>
#include <string>
#include <utility>

#include "cuda/failure.h"

namespace kernels::cuda {

namespace {

// Long enough that its copy takes far longer than to ask for it.
constexpr uint64_t kChunkBytes = uint64_t{1} << 20;

}  // namespace

void OwnSource::Read(void* to, uint64_t begin, uint64_t bytes) const {
  Failure failure;
  if (!read_(context_.get(), to, begin, bytes, &failure)) {
    throw Error(failure.code, failure.message);
  }
}

Uploads::Uploads(int32_t device, platform::Stream operations)
    : device_(device), operations_(operations), thread_([this] { Loop(); }) {}

Uploads::~Uploads() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Uploads::Add(uint64_t number, void* to, uint64_t bytes, OwnSource source) {
  // The stream waits as a whole: what the thread has not issued yet of earlier uploads comes later
  // than it could.
  platform::Record(unused_.event, operations_);
  platform::WaitFor(stream_.stream, unused_.event);
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({number, to, bytes, std::move(source)});
  }
  wake_.notify_one();
}

void Uploads::WaitUntilIssued(std::unique_lock<std::mutex>& lock, uint64_t number) {
  issued_.wait(lock, [&] { return queue_.empty() || queue_.front().number > number; });
}

void Uploads::Await(uint64_t number) {
  std::unique_lock lock(mutex_);
  WaitUntilIssued(lock, number);
  if (number > awaited_) {
    platform::WaitFor(operations_, landed_.event);
    awaited_ = number;
  }
  if (fault_) throw *fault_;
}

void Uploads::Drop(uint64_t number) {
  if (number <= awaited_) return;
  std::unique_lock lock(mutex_);
  const auto found = std::find_if(queue_.begin(), queue_.end(),
                                  [&](const Upload& upload) { return upload.number == number; });
  if (found != queue_.end()) {
    found->is_dropped = true;
    if (found != queue_.begin()) return;
    WaitUntilIssued(lock, number);
  }
  platform::WaitFor(operations_, landed_.event);
}

void Uploads::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stops_ || !queue_.empty(); });
    if (stops_) return;
    Upload& upload = queue_.front();  // stays where it is while others come and go
    const bool is_lost = fault_.has_value();
    lock.unlock();
    Failure failure;
    const bool is_copied = is_lost || Protect(&failure, [&] { Copy(upload); });
    upload.source.Release();
    lock.lock();
    // Also where it failed: a part of it may be on its way.
    const bool is_recorded =
        Protect(&failure, [&] { platform::Record(landed_.event, stream_.stream); });
    const bool is_missed = !is_copied && !upload.is_dropped;
    if (!fault_ && (is_missed || !is_recorded)) fault_ = Error(failure.code, failure.message);
    queue_.pop_front();
    issued_.notify_all();
  }
}

bool Uploads::IsWanted(const Upload& upload) {
  const std::lock_guard lock(mutex_);
  return !stops_ && !upload.is_dropped;
}

Uploads::Chunk& Uploads::NextChunk() {
  Chunk& chunk = chunks_[next_chunk_];
  next_chunk_ = (next_chunk_ + 1) % chunks_.size();
  if (chunk.data != nullptr) {
    platform::WaitFor(chunk.copied.event);
    return chunk;
  }
  chunk.data = platform::AllocatePinned(kChunkBytes);
  if (chunk.data != nullptr) return chunk;
  throw Error(Code::kOutOfMemory, "no memory of the host that could be pinned for " +
                                      std::to_string(kChunkBytes) + " bytes on their way");
}

void Uploads::Copy(const Upload& upload) {
  platform::UseDevice(device_);
  for (uint64_t begin = 0; begin < upload.bytes && IsWanted(upload); begin += kChunkBytes) {
    const uint64_t bytes = std::min(kChunkBytes, upload.bytes - begin);
    Chunk& chunk = NextChunk();
    upload.source.Read(chunk.data, begin, bytes);
    platform::CopyPinned(static_cast<std::byte*>(upload.to) + begin, chunk.data, bytes,
                         stream_.stream);
    platform::Record(chunk.copied.event, stream_.stream);
  }
}

}  // namespace kernels::cuda
