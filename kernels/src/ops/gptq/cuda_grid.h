#pragma once

#include "cuda/launch.h"
#include "ops/gptq/grid.h"

// Rounding and looking for a grid, by threads of a warp together; in the reference's order, so that
// the bits are the same.
namespace kernels::cuda {

struct Rounded {
  float value;
  float code;
};

// `code`, which may be past either end or not a number, as one in range.
__device__ __forceinline__ float CodeInRange(float code, float max_code) {
  code = code > 0.0f ? code : 0.0f;
  return code < max_code ? code : max_code;
}

__device__ __forceinline__ Rounded RoundToCode(float w, Grid grid, float max_code) {
  const float code = CodeInRange(rintf(w / grid.scale) + grid.zero, max_code);
  // 0 * w adds nothing, unless w is not finite: that must not turn into a harmless number.
  return {grid.scale * (code - grid.zero) + 0.0f * w, code};
}

constexpr float MaxCode(int bits) {
  return static_cast<float>((1 << bits) - 1);
}

// Columns of one group, by one thread.
struct GroupColumns {
  const float* w;
  const float* importance;  // null: all count the same
  int64_t count;

  __device__ __forceinline__ float SquaredError(int64_t j, Grid grid, float max_code) const {
    const float error = w[j] - RoundToCode(w[j], grid, max_code).value;
    const float square = error * error;
    return importance == nullptr ? square : importance[j] * square;
  }

  // One level of TotalError's tree, with constants for indices: the sums stay in registers.
  template <int kWidth>
  __device__ __forceinline__ static void AddUpper(float (&sums)[kErrorSums]) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sums[i] += sums[i + kWidth];
  }

  __device__ __forceinline__ float Error(Grid grid, float max_code) const {
    float sums[kErrorSums] = {};
    int64_t j = 0;
    for (; j + kErrorSums <= count; j += kErrorSums) {
#pragma unroll
      for (int i = 0; i < kErrorSums; ++i) sums[i] += SquaredError(j + i, grid, max_code);
    }
#pragma unroll
    for (int i = 0; i < kErrorSums; ++i) {
      if (j + i < count) sums[i] += SquaredError(j + i, grid, max_code);
    }
    AddUpper<8>(sums);
    AddUpper<4>(sums);
    AddUpper<2>(sums);
    AddUpper<1>(sums);
    return sums[0];
  }
};

struct Range {
  float low, high;
};

// The range of a group and zero, by kLanes neighbours of a warp, each `lane` of them; all get it.
template <int kLanes>
__device__ Range RangeOfColumns(const GroupColumns& columns, int lane) {
  Range range = {0.0f, 0.0f};
  for (int64_t j = lane; j < columns.count; j += kLanes) {
    const float w = columns.w[j];
    if (w < range.low) range.low = w;
    if (w > range.high) range.high = w;
  }
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    const float low = __shfl_xor_sync(kAllLanes, range.low, mask);
    const float high = __shfl_xor_sync(kAllLanes, range.high, mask);
    range.low = low < range.low ? low : range.low;
    range.high = high > range.high ? high : range.high;
  }
  return range;
}

// As LeastError in grid.h: each lane has every kLanes-th candidate, and of the least the first
// counts. Where the first candidate's error is not a number, nothing is less.
template <int kLanes>
__device__ Grid LeastErrorGrid(const GroupColumns& columns, Range range, const GridOptions& options,
                               int lane) {
  const float max_code = MaxCode(options.bits);
  const int count = CandidateCount(options);
  float least = INFINITY;
  int best = lane;
  for (int i = lane; i < count; i += kLanes) {
    const Grid grid = CandidateGrid(i, range.low, range.high, options);
    const float error = columns.Error(grid, max_code);
    if (i == 0 && !(error == error)) least = -INFINITY;
    if (!(error < least)) continue;
    least = error;
    best = i;
  }
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, least, mask);
    const int index = __shfl_xor_sync(kAllLanes, best, mask);
    if (other < least || (other == least && index < best)) {
      least = other;
      best = index;
    }
  }
  return CandidateGrid(best, range.low, range.high, options);
}

template <int kLanes>
__device__ Grid GridOfColumns(const GroupColumns& columns, const GridOptions& options, int lane) {
  const Range range = RangeOfColumns<kLanes>(columns, lane);
  if (!options.minimizes_error) return GridOfRange(range.low, range.high, options);
  return LeastErrorGrid<kLanes>(columns, range, options, lane);
}

// A vector that may be empty, then null.
inline const float* VectorOf(const Tensor& vector) {
  return vector.empty() ? nullptr : vector.As<const float>();
}

}  // namespace kernels::cuda
