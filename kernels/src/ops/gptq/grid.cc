#include "ops/gptq/grid.h"

#include <cmath>
#include <limits>

namespace kernels {

namespace {

float ZeroOfRange(float low, float scale, float max_code) {
  const float zero = std::nearbyintf(-low / scale);
  // A scale that storing made smaller can put the zero past the last code. Not a number (an
  // infinite range) becomes 0: a zero is always a code.
  if (!(zero > 0.0f)) return 0.0f;
  return zero < max_code ? zero : max_code;
}

// The extreme takes the code at the long end of the grid.
float SignedStep(float low, float high, float middle) {
  const float extreme = -low > high ? low : high;
  return extreme == 0.0f ? 1.0f / middle : -extreme / middle;
}

}  // namespace

float StoredScale(float scale, DType dtype) {
  float stored = scale;
  float smallest = std::numeric_limits<float>::denorm_min();
  if (dtype == DType::kF16) {
    stored = ToFloat(ToF16(scale));
    smallest = ToFloat(F16{1});
  } else if (dtype == DType::kBF16) {
    stored = ToFloat(ToBF16(scale));
    smallest = ToFloat(BF16{1});
  }
  return stored == 0.0f ? std::copysign(smallest, scale) : stored;
}

Grid GridOfRange(float low, float high, const GridOptions& options) {
  const float max_code = static_cast<float>((1 << options.bits) - 1);
  const float middle = static_cast<float>(1 << (options.bits - 1));
  if (options.symmetric && options.is_signed) {
    return {StoredScale(SignedStep(low, high, middle), options.scale_dtype), middle};
  }
  if (options.symmetric) {
    const bool only_positive = options.keeps_positive_range && low == 0.0f;
    const float largest = -low > high ? -low : high;
    low = only_positive ? 0.0f : -largest;
    high = largest;
  }
  if (low == 0.0f && high == 0.0f) {
    low = -1.0f;
    high = 1.0f;
  }
  const float scale = StoredScale((high - low) / max_code, options.scale_dtype);
  const float zero = options.symmetric ? middle : ZeroOfRange(low, scale, max_code);
  return {scale, zero};
}

}  // namespace kernels
