#include "ops/cache_quantization/grid.h"

#include <algorithm>
#include <cmath>

namespace kernels {

Range FindRange(const float* x, int64_t count) {
  constexpr int kLanes = 16;  // several chains, which the compiler turns into vectors
  float least[kLanes];
  float largest[kLanes];
  int is_nan[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    least[i] = largest[i] = x[0];
    is_nan[i] = 0;
  }
  const auto see = [&](float value, int i) {
    least[i] = value < least[i] ? value : least[i];
    largest[i] = value > largest[i] ? value : largest[i];
    is_nan[i] |= value != value;
  };
  const int64_t whole = count - count % kLanes;
  for (int64_t at = 0; at < whole; at += kLanes) {
    for (int i = 0; i < kLanes; ++i) see(x[at + i], i);
  }
  for (int64_t at = whole; at < count; ++at) see(x[at], 0);
  Range range = {least[0], largest[0]};
  for (int i = 0; i < kLanes; ++i) {
    range = {std::min(range.least, least[i]), std::max(range.largest, largest[i])};
    is_nan[0] |= is_nan[i];
  }
  return is_nan[0] ? Range{NAN, NAN} : range;
}

CacheGrid RoundToCodes(const float* x, int64_t count, uint8_t* codes) {
  const Range range = FindRange(x, count);
  const CacheGrid grid = {RoundUp((range.largest - ToFloat(RoundDown(range.least))) / 255.0f),
                          RoundDown(range.least)};
  const float scale = ToFloat(grid.scale);
  const float offset = ToFloat(grid.offset);
  const bool is_sound = std::isfinite(scale) && std::isfinite(offset);
  if (!is_sound || scale == 0) {
    std::fill(codes, codes + count, uint8_t{0});
    return is_sound ? grid : CacheGrid{ToF16(NAN), ToF16(NAN)};
  }
  const float inverse = 1 / scale;
  for (int64_t i = 0; i < count; ++i) {
    const float code = (x[i] - offset) * inverse + 0.5f;  // at least 0.5, since offset <= x[i]
    codes[i] = static_cast<uint8_t>(static_cast<int>(code < 255.0f ? code : 255.0f));
  }
  return grid;
}

}  // namespace kernels
