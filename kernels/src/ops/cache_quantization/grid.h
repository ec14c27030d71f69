#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace kernels {

// What the codes of one token's keys or values of one head stand for: scale * code + offset. The
// offset is not above the least value and offset + 255 * scale not below the largest.
struct CacheGrid {
  F16 scale;
  F16 offset;
};

// The largest f16 that is not above x, and the smallest that is not below x >= 0.
constexpr F16 RoundDown(float x) {
  const F16 nearest = ToF16(x);
  if (!(ToFloat(nearest) > x)) return nearest;
  const bool is_zero = (nearest.bits & 0x7fff) == 0;
  const bool is_negative = (nearest.bits & 0x8000) != 0;
  return {static_cast<uint16_t>(is_zero ? 0x8001 : nearest.bits + (is_negative ? 1 : -1))};
}

constexpr F16 RoundUp(float x) {
  const F16 nearest = ToF16(x);
  return {static_cast<uint16_t>(nearest.bits + (ToFloat(nearest) < x ? 1 : 0))};
}

// The least and the largest of x; both NaN if one of them is.
struct Range {
  float least;
  float largest;
};
Range FindRange(const float* x, int64_t count);

// Rounds x to the nearest codes of a grid of its own, which it returns. Where x is not finite or
// its range is beyond f16, scale and offset are NaN, so that nothing computed with them looks
// sound.
CacheGrid RoundToCodes(const float* x, int64_t count, uint8_t* codes);

}  // namespace kernels
