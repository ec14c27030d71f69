#pragma once

#include <bit>
#include <limits>

#include "ops/gptq/gptq.h"

// What every implementation takes its grids from, so that they agree to the bit. All is constexpr,
// so that CUDA code may call it.
namespace kernels {

struct Grid {
  float scale;
  float zero;  // integral, 0 .. maxq
};

// `scale` as it is stored in a dtype; a scale that would vanish becomes the smallest of its sign.
constexpr float StoredScale(float scale, DType dtype) {
  float stored = scale;
  float smallest = std::numeric_limits<float>::denorm_min();
  if (dtype == DType::kF16) {
    stored = ToFloat(ToF16(scale));
    smallest = ToFloat(F16{1});
  } else if (dtype == DType::kBF16) {
    stored = ToFloat(ToBF16(scale));
    smallest = ToFloat(BF16{1});
  }
  if (stored != 0.0f) return stored;
  const uint32_t sign = std::bit_cast<uint32_t>(scale) & 0x80000000u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(smallest) | sign);
}

constexpr float ZeroOfRange(float low, float scale, float max_code) {
  const float zero = -low / scale;
  // A scale that storing made smaller can put the zero past the last code. Not a number (an
  // infinite range) becomes 0: a zero is always a code.
  if (!(zero > 0.0f)) return 0.0f;
  if (!(zero < max_code)) return max_code;
  // Floats are integers from 2^23 on: the sum is rounded to the nearest, ties to even.
  return (zero + 0x1p23f) - 0x1p23f;
}

// The extreme takes the code at the long end of the grid.
constexpr float SignedStep(float low, float high, float middle) {
  const float extreme = -low > high ? low : high;
  return extreme == 0.0f ? 1.0f / middle : -extreme / middle;
}

// The grid of a group whose weights span [low, high], with low <= 0 <= high.
constexpr Grid GridOfRange(float low, float high, const GridOptions& options) {
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

// A group's squared errors are added up in this many sums, column j in sum j % kErrorSums, and
// those by a tree: the same on every instruction set.
constexpr int kErrorSums = 16;
constexpr float TotalError(float (&sums)[kErrorSums]) {
  for (int width = kErrorSums / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

// Grids that are tried for a group: those of 80 shares of its range, the whole of it first, on a
// signed grid each with either sign of its scale.
constexpr int CandidateCount(const GridOptions& options) {
  return options.symmetric && options.is_signed ? 160 : 80;
}
constexpr Grid CandidateGrid(int index, float low, float high, const GridOptions& options) {
  const bool has_signs = options.symmetric && options.is_signed;
  const float share = 1.0f - static_cast<float>(has_signs ? index / 2 : index) / 100.0f;
  Grid grid = GridOfRange(share * low, share * high, options);
  if (has_signs && index % 2 != 0) grid.scale = -grid.scale;
  return grid;
}

// The first candidate with the least error. `error_of` takes a Grid. An error that is not a number
// is never the least.
template <class ErrorOf>
Grid LeastError(float low, float high, const GridOptions& options, ErrorOf error_of) {
  Grid best = CandidateGrid(0, low, high, options);
  float least = error_of(best);
  for (int i = 1; i < CandidateCount(options); ++i) {
    const Grid grid = CandidateGrid(i, low, high, options);
    const float error = error_of(grid);
    if (!(error < least)) continue;
    least = error;
    best = grid;
  }
  return best;
}

}  // namespace kernels
