#pragma once

#include "cuda/launch.h"

namespace kernels::cuda {

// What the squares of a row are first added up to.
constexpr int kSquareSums = 512;

// 1 / sqrt(mean(x^2) + epsilon) of a row, in every thread of a block of kThreads. The sum is in
// double, as on the processor; its order depends on the width only, not on the block. All must call
// it, once in a kernel; it has a barrier.
template <int kThreads>
__device__ __forceinline__ float RmsScale(const float* x, int64_t width, float epsilon) {
  static_assert(kSquareSums % kThreads == 0);
  constexpr int kEach = kSquareSums / kThreads;
  constexpr int kWarpSums = kSquareSums / kWarpSize;
  using Sums = double[kWarpSums];
  SHARED(Sums, sums);
  double squares[kEach] = {};
#pragma unroll 4
  for (int64_t j = threadIdx.x; j < width; j += kSquareSums) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int64_t at = j + i * kThreads;
      const double value{at < width ? x[at] : 0.0f};
      squares[i] += value * value;
    }
  }
  const unsigned lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const double sum = WarpSum(squares[i]);
    if (lane == 0) sums[(i * kThreads + threadIdx.x) / kWarpSize] = sum;
  }
  __syncthreads();
  const double sum = WarpSum(lane < kWarpSums ? sums[lane] : 0.0);
  return static_cast<float>(1.0 / sqrt(sum / static_cast<double>(width) + double{epsilon}));
}

}  // namespace kernels::cuda
