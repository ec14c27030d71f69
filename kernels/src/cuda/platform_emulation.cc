#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "cuda/platform.h"

// The processor in the place of a GPU: memory is the host's, and everything has run when it
// returns.
namespace kernels::cuda::platform {

const char* Name() {
  return "emulation";
}
// Unless the environment names one that can.
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
  return nullptr;
}
void DeleteStream(Stream) {}
void Wait(Stream) {}

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
