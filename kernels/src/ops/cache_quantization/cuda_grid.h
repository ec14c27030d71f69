#pragma once

#include "cuda/numbers.h"
#include "ops/cache_quantization/grid.h"

// grid.cc for a warp: the same codes and grids, bit for bit.
namespace kernels::cuda {

// Of all lanes' values, in every lane; both NaN if one is.
__device__ inline Range WarpRange(float least, float largest, bool is_nan) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    const float low = __shfl_xor_sync(kAllLanes, least, mask);
    const float high = __shfl_xor_sync(kAllLanes, largest, mask);
    least = low < least ? low : least;
    largest = high > largest ? high : largest;
  }
  if (__any_sync(kAllLanes, is_nan)) return {QuietNaN(), QuietNaN()};
  return {least, largest};
}

// The least and the largest of x[0 .. count), count > 0, by a warp.
__device__ inline Range WarpRangeOf(const float* x, int64_t count) {
  float least = x[0];
  float largest = x[0];
  bool is_nan = false;
  for (int64_t i = threadIdx.x % kWarpSize; i < count; i += kWarpSize) {
    const float value = x[i];
    least = value < least ? value : least;
    largest = value > largest ? value : largest;
    is_nan |= value != value;
  }
  return WarpRange(least, largest, is_nan);
}

// The grid of codes between `least` and `largest`; NaN where there is none.
__device__ inline CacheGrid GridOf(const Range& range) {
  const CacheGrid grid = {RoundUp((range.largest - ToFloat(RoundDown(range.least))) / 255.0f),
                          RoundDown(range.least)};
  const bool is_sound = IsFinite(ToFloat(grid.scale)) && IsFinite(ToFloat(grid.offset));
  return is_sound ? grid : CacheGrid{{0x7e00}, {0x7e00}};
}

// What x is rounded to on a grid; `inverse` is 1 / scale.
__device__ inline uint8_t CodeOf(float x, float offset, float inverse) {
  const float code = (x - offset) * inverse + 0.5f;  // at least 0.5, since offset <= x
  return static_cast<uint8_t>(static_cast<int>(code < 255.0f ? code : 255.0f));
}

// RoundToCodes by a warp; every lane returns the grid.
__device__ inline CacheGrid WarpRoundToCodes(const float* x, int64_t count, uint8_t* codes) {
  const CacheGrid grid = GridOf(WarpRangeOf(x, count));
  const float scale = ToFloat(grid.scale);
  const float offset = ToFloat(grid.offset);
  const bool has_codes = IsFinite(scale) && scale != 0;
  const float inverse = has_codes ? 1.0f / scale : 0.0f;
  for (int64_t i = threadIdx.x % kWarpSize; i < count; i += kWarpSize) {
    codes[i] = has_codes ? CodeOf(x[i], offset, inverse) : uint8_t{0};
  }
  return grid;
}

}  // namespace kernels::cuda
