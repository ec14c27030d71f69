#pragma once

#include "cuda/launch.h"

namespace kernels::cuda {

namespace one_lane {

// What core/exp.inl is written with, of a single number.
struct Lanes {
  float v;

  static __device__ Lanes Set(float x) { return {x}; }
  static __device__ Lanes Min(Lanes a, Lanes b) { return {a.v < b.v ? a.v : b.v}; }
  static __device__ Lanes Max(Lanes a, Lanes b) { return {a.v > b.v ? a.v : b.v}; }
  static __device__ Lanes MulAdd(Lanes a, Lanes b, Lanes c) { return {__fmaf_rn(a.v, b.v, c.v)}; }
  static __device__ Lanes NegMulAdd(Lanes a, Lanes b, Lanes c) {
    return {__fmaf_rn(-a.v, b.v, c.v)};
  }
  // Below 2^22: the sum has no room for a fraction.
  static __device__ Lanes Round(Lanes a) { return {(a.v + 0x1.8p23f) - 0x1.8p23f}; }
  static __device__ Lanes Exp2Int(Lanes n) {
    return {__uint_as_float(static_cast<unsigned>(static_cast<int>(n.v) + 127) << 23)};
  }
};
__device__ inline Lanes operator+(Lanes a, Lanes b) {
  return {a.v + b.v};
}
__device__ inline Lanes operator-(Lanes a, Lanes b) {
  return {a.v - b.v};
}
__device__ inline Lanes operator*(Lanes a, Lanes b) {
  return {a.v * b.v};
}

#define KERNELS_EXP_INLINE __device__ inline
#include "core/exp.inl"
#undef KERNELS_EXP_INLINE

}  // namespace one_lane

// exp(x) with the processor's bits. The library's expf is not used: its error is documented as
// larger.
__device__ inline float Exp(float x) {
  return one_lane::Exp({x}).v;
}

}  // namespace kernels::cuda
