#pragma once

#include "ops/gptq/grid.h"

namespace kernels {

// The scale that lowers the loss most, as it is stored: gradient is that of the loss by the scale
// over -2, curvature that over 2. The same scale where no other lowers it.
constexpr float BetterScale(float scale, float gradient, float curvature, DType dtype) {
  if (!(curvature > 0.0f)) return scale;
  const float better = StoredScale(scale + gradient / curvature, dtype);
  const float step = better - scale;
  const float gain = step * (2.0f * gradient - step * curvature);
  // An infinite scale gains nothing, and nothing is what not-a-number gains.
  return gain > 0.0f && better - better == 0.0f ? better : scale;
}

}  // namespace kernels
