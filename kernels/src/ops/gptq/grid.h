#pragma once

#include "ops/gptq/gptq.h"

namespace kernels {

struct Grid {
  float scale;
  float zero;  // integral, 0 .. maxq
};

// The grid of a group whose weights span [low, high], with low <= 0 <= high. Every implementation
// takes it from here, so they agree to the bit.
Grid GridOfRange(float low, float high, const GridOptions& options);

}  // namespace kernels
