#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>

// CUDA's language, as far as kernels here use it, for an ordinary C++ compiler: a thread is a
// fiber, a block's threads run one at a time in a random order from one meeting point (barrier,
// shuffle) to the next, and shared memory begins poisoned. What a barrier should have ordered and
// does not is therefore seen in another order sooner or later, by results and by AddressSanitizer.
// Not for speed.
//
// For the check that a missing barrier is seen (test/emulated/mutations.test.ts) the environment
// can name one, as "file.cu:line" in NIBBLE_EMULATION_SKIP: it is passed as if it were not there.
// Where NIBBLE_EMULATION_SITES names a file, every barrier, wait and tensor-core product that is
// reached is written to it once.
namespace kernels::cuda::emulation {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// What a thread can ask of itself.
struct Place {
  Dim3 thread_index, block_index, block_size, grid_size;
};
const Place& Current();

// Runs a kernel on every thread of a grid, blocks one after another in a random order. Throws Error
// kInternal where threads wait for one another in vain, and what a thread throws.
void RunGrid(Dim3 grid, Dim3 block, size_t dynamic_shared_bytes, const std::function<void()>& body);

// Memory that all threads of a block get under the same tag, poisoned when the block begins.
void* BlockMemory(const void* tag, size_t bytes);
void* DynamicShared();

using Site = std::source_location;

// Whether this place is the one to be left out or spoilt.
bool IsMutated(const Site& site);

enum class Meeting : uint8_t { kBlock, kWarp };
// Waits until all threads of the block, or of the warp, have come to it.
void Meet(Meeting meeting);
inline void Meet(Meeting meeting, const Site& site) {
  if (!IsMutated(site)) Meet(meeting);
}

// Meets the warp; afterwards lane l's value is at [l] until the warp has met twice more.
constexpr size_t kExchangeBytes = 64;
const std::byte (*Exchange(const void* value, size_t bytes))[kExchangeBytes];
unsigned Lane();

// Copies that have been started land when the thread waits for them: until then the destination
// is poison.
void StartCopy(void* to, const void* from, size_t bytes);
void CommitCopies();
void WaitCopies(int groups_left, const Site& site = Site::current());

template <class T>
T ShuffleFrom(T value, unsigned lane) {
  static_assert(sizeof(T) <= kExchangeBytes);
  T taken;
  const auto* values = Exchange(&value, sizeof value);
  std::memcpy(&taken, values[lane % 32], sizeof taken);
  return taken;
}

}  // namespace kernels::cuda::emulation

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (::kernels::cuda::emulation::Current().thread_index)
#define blockIdx (::kernels::cuda::emulation::Current().block_index)
#define blockDim (::kernels::cuda::emulation::Current().block_size)
#define gridDim (::kernels::cuda::emulation::Current().grid_size)

// A variable of shared memory, whose type must need no construction: SHARED(Tile, tile) with
// using Tile = float[8][33].
#define SHARED(Type, name)          \
  static const char name##_tag = 0; \
  Type& name =                      \
      *static_cast<Type*>(::kernels::cuda::emulation::BlockMemory(&name##_tag, sizeof(Type)))
// The shared memory that the launch asked for.
#define DYNAMIC_SHARED(Type, name) \
  Type* name = static_cast<Type*>(::kernels::cuda::emulation::DynamicShared())

inline void __syncthreads(
    const ::kernels::cuda::emulation::Site& site = ::kernels::cuda::emulation::Site::current()) {
  ::kernels::cuda::emulation::Meet(::kernels::cuda::emulation::Meeting::kBlock, site);
}
inline void __syncwarp(unsigned = ~0u, const ::kernels::cuda::emulation::Site& site =
                                           ::kernels::cuda::emulation::Site::current()) {
  ::kernels::cuda::emulation::Meet(::kernels::cuda::emulation::Meeting::kWarp, site);
}
template <class T>
T __shfl_sync(unsigned, T value, unsigned lane) {
  return ::kernels::cuda::emulation::ShuffleFrom(value, lane);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, unsigned mask) {
  return ::kernels::cuda::emulation::ShuffleFrom(value, ::kernels::cuda::emulation::Lane() ^ mask);
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta) {
  const unsigned lane = ::kernels::cuda::emulation::Lane();
  return ::kernels::cuda::emulation::ShuffleFrom(value, lane + delta < 32 ? lane + delta : lane);
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  const auto* votes = ::kernels::cuda::emulation::Exchange(&vote, sizeof vote);
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; ++lane)
    ballot |= static_cast<unsigned>(votes[lane][0] != std::byte{0}) << lane;
  return ballot;
}
inline bool __any_sync(unsigned mask, bool vote) {
  return __ballot_sync(mask, vote) != 0;
}

// Threads run one at a time.
template <class T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}
template <class T>
T atomicMax(T* to, T value) {
  const T before = *to;
  if (value > before) *to = value;
  return before;
}
template <class T>
T atomicMin(T* to, T value) {
  const T before = *to;
  if (value < before) *to = value;
  return before;
}
inline int atomicCAS(int* to, int expected, int value) {
  const int before = *to;
  if (before == expected) *to = value;
  return before;
}
inline void __threadfence() {}
template <class T>
T __ldg(const T* from) {
  return *from;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline int __float_as_int(float value) {
  return __builtin_bit_cast(int, value);
}
inline unsigned __float_as_uint(float value) {
  return __builtin_bit_cast(unsigned, value);
}
inline float __int_as_float(int value) {
  return __builtin_bit_cast(float, value);
}
inline float __uint_as_float(unsigned value) {
  return __builtin_bit_cast(float, value);
}
inline int __clz(int value) {
  return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value));
}
inline int __popc(unsigned value) {
  return __builtin_popcount(value);
}

struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
