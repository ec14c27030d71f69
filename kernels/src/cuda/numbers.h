#pragma once

#include <type_traits>

#include "cuda/launch.h"

// Single numbers, as kernels read, write and compare them.
namespace kernels::cuda {

__device__ __forceinline__ float Widen(float value) {
  return value;
}
__device__ __forceinline__ float Widen(BF16 value) {
  return ToFloat(value);
}
__device__ __forceinline__ float Widen(uint8_t value) {
  return static_cast<float>(value);
}
__device__ __forceinline__ float Widen(F16 value) {
#if defined(KERNELS_EMULATE_CUDA)
  return ToFloat(value);
#else
  float wide;  // the same, in one instruction
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#endif
}

// To the nearest of a float type, ties to even.
template <class T>
__device__ __forceinline__ T Narrow(float value) {
  if constexpr (std::is_same_v<T, F16>) return ToF16(value);
  if constexpr (std::is_same_v<T, BF16>) return ToBF16(value);
  if constexpr (std::is_same_v<T, float>) return value;
}

// Neither infinite nor NaN.
__device__ __forceinline__ bool IsFinite(float value) {
  return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u;
}

__device__ __forceinline__ float QuietNaN() {
  return __uint_as_float(0x7fc00000u);
}

// A value as an integer that orders like it. Adding zero makes -0 equal to +0; NaN is above all.
__device__ __forceinline__ uint32_t OrderedKey(float value) {
  const uint32_t bits = __float_as_uint(value + 0.0f);
  const uint32_t key = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return value != value ? 0xffffffffu : key;
}

// A key and where its value stands as one integer: a larger one is a larger value or, among equals,
// a lower index.
__device__ __forceinline__ uint64_t RankOf(float value, int64_t index) {
  return uint64_t{OrderedKey(value)} << 32 | (0xffffffffu - static_cast<uint32_t>(index));
}
__device__ __forceinline__ uint32_t KeyOfRank(uint64_t rank) {
  return static_cast<uint32_t>(rank >> 32);
}
__device__ __forceinline__ int32_t IndexOfRank(uint64_t rank) {
  return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(rank));
}

}  // namespace kernels::cuda
