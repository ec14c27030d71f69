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
