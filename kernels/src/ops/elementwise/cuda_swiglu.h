#pragma once

#include "cuda/exp.h"

namespace kernels::cuda {

// up * t / (1 + exp(-t)) without overflow: with e = exp(-|t|), the numerator is e for negative t.
__device__ __forceinline__ float SwigluOf(float up, float gate) {
  // -200 * exp(-200) is far below the smallest f32, and -infinity would give NaN.
  const float t = gate < -200.0f ? -200.0f : gate;
  const float e = Exp(t < 0 ? t : -t);
  return up * (t * (t < 0 ? e : 1.0f) / (1.0f + e));
}

}  // namespace kernels::cuda
