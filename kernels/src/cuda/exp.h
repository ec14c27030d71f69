#pragma once

#include "cuda/launch.h"

namespace kernels::cuda {

// exp(x) within 1 ulp where the result is a normal number, gradual underflow to zero below,
// infinity above 88.72, NaN for NaN: core/exp.inl for one number. The library's expf is not used
// because its error is documented as larger, and because this one has the same bits everywhere.
__device__ inline float Exp(float x) {
  // In this form the comparisons keep NaN.
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
  const float shifted = x * 0x1.715476p+0f + 0x1.8p23f;
  const float n = shifted - 0x1.8p23f;
  const int exponent = static_cast<int>(__float_as_uint(shifted) - __float_as_uint(0x1.8p23f));
  float r = __fmaf_rn(-n, 0x1.62e43p-1f, x);
  r = __fmaf_rn(-n, -0x1.05c61p-29f, r);
  float q = 0x1.6a23cep-10f;
  q = __fmaf_rn(q, r, 0x1.123a2p-7f);
  q = __fmaf_rn(q, r, 0x1.5558f2p-5f);
  q = __fmaf_rn(q, r, 0x1.555492p-3f);
  q = __fmaf_rn(q, r, 0x1.fffffcp-2f);
  const float e = __fmaf_rn(q, r * r, r) + 1.0f;
  const int half = exponent >> 1;
  const auto power = [](int k) { return __uint_as_float(static_cast<unsigned>(k + 127) << 23); };
  return e * power(half) * power(exponent - half);
}

}  // namespace kernels::cuda
