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

// `scale` as it is stored in a dtype; a scale that would vanish becomes the smallest of its sign.
float StoredScale(float scale, DType dtype);

// Shares of a range that are tried, the whole of it first.
constexpr int kShares = 80;
inline float Share(int index) {
  return 1.0f - static_cast<float>(index) / 100.0f;
}

// A group's squared errors are added up in this many sums, column j in sum j % kErrorSums, and
// those by a tree: the same on every instruction set.
constexpr int kErrorSums = 16;
inline float TotalError(float (&sums)[kErrorSums]) {
  for (int width = kErrorSums / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

// The grid of the share of [low, high] with the least error, on a signed grid with either sign of
// its scale. `error_of` takes a Grid. An error that is not a number is never the least.
template <class ErrorOf>
Grid LeastError(float low, float high, const GridOptions& options, ErrorOf error_of) {
  Grid best = GridOfRange(low, high, options);
  float least = error_of(best);
  const auto consider = [&](Grid grid) {
    const float error = error_of(grid);
    if (!(error < least)) return;
    least = error;
    best = grid;
  };
  const bool has_signs = options.symmetric && options.is_signed;
  for (int i = 0; i < kShares; ++i) {
    Grid grid = GridOfRange(Share(i) * low, Share(i) * high, options);
    if (i > 0) consider(grid);
    grid.scale = -grid.scale;
    if (has_signs) consider(grid);
  }
  return best;
}

}  // namespace kernels
