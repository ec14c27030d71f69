#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>

#include "core/error.h"
#include "cuda/platform.h"

// The processor in the place of a GPU: memory is the host's, and everything has run when it
// returns, but for copies from pinned memory: they land when something waits for them.
namespace kernels::cuda::platform {

namespace {

class CopyStream {
 public:
  void Add(void* to, const void* pinned, uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    copies_.push_back({to, pinned, bytes});
    ++added_;
  }
  uint64_t added() {
    const std::lock_guard lock(mutex_);
    return added_;
  }
  void Land(uint64_t added) {
    const std::lock_guard lock(mutex_);
    for (; landed_ < added; ++landed_) {
      const Copy& copy = copies_.front();
      std::memcpy(copy.to, copy.pinned, copy.bytes);
      copies_.pop_front();
    }
  }

 private:
  struct Copy {
    void* to;
    const void* pinned;
    uint64_t bytes;
  };
  std::mutex mutex_;
  std::deque<Copy> copies_;
  uint64_t added_ = 0, landed_ = 0;
};

CopyStream& Of(Stream stream) {
  return *static_cast<CopyStream*>(stream);
}

struct Recorded {
  CopyStream* stream = nullptr;
  uint64_t added = 0;
};

}  // namespace

const char* Name() {
  return "emulation";
}
// They would follow pointers to a GPU's memory; a stand-in is named by its file.
bool HasVendorLibraries() {
  return false;
}
int32_t CountDevices() {
  return 1;
}
void DescribeDevice(int32_t, DeviceDescription* description) {
  *description = {"emulated GPU", uint64_t{1} << 34, 9, 0, 4};
}
void UseDevice(int32_t) {}

Stream NewStream() {
  return new CopyStream;
}
void DeleteStream(Stream stream) {
  Wait(stream);
  delete &Of(stream);
}
void Wait(Stream stream) {
  Of(stream).Land(Of(stream).added());
}

Event NewEvent() {
  return new Recorded;
}
void DeleteEvent(Event event) {
  delete static_cast<Recorded*>(event);
}
void Record(Event event, Stream stream) {
  *static_cast<Recorded*>(event) = {&Of(stream), Of(stream).added()};
}
void WaitFor(Stream, Event event) {
  WaitFor(event);
}
void WaitFor(Event event) {
  const Recorded recorded = *static_cast<Recorded*>(event);
  if (recorded.stream != nullptr) recorded.stream->Land(recorded.added);
}

void* Allocate(uint64_t bytes) {
  if (bytes > uint64_t{1} << 34) return nullptr;
  void* data = nullptr;
  if (posix_memalign(&data, 256, bytes) != 0) return nullptr;
  // What nobody has written must not pass for a number.
  std::memset(data, 0xff, bytes);
  return data;
}
void Release(void* data) {
  std::free(data);
}
void* AllocatePinned(uint64_t bytes) {
  return Allocate(bytes);
}
void ReleasePinned(void* data) {
  Release(data);
}
void CopyIn(void* to, const void* host, uint64_t bytes, Stream) {
  std::memcpy(to, host, bytes);
}
void CopyPinned(void* to, const void* pinned, uint64_t bytes, Stream stream) {
  Of(stream).Add(to, pinned, bytes);
}
void CopyOut(void* host, const void* from, uint64_t bytes, Stream) {
  std::memcpy(host, from, bytes);
}
void Clear(void* data, uint64_t bytes, Stream) {
  std::memset(data, 0, bytes);
}

// What a block can have on an A100 (sm_80).
void AllowShared(const void*, size_t bytes) {
  constexpr size_t kLimit = 163 << 10;
  if (bytes > kLimit) ThrowTooLittleShared(bytes, kLimit);
}

bool HasGraphs() {
  return false;
}
void BeginCapture(Stream) {}
void* EndCapture(Stream) {
  return nullptr;
}
void LaunchGraph(void*, Stream) {}
void DeleteGraph(void*) {}

}  // namespace kernels::cuda::platform
