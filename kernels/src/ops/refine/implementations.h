#pragma once

#include <cstddef>

#include "ops/refine/refine.h"

// What an instruction set provides; dispatch.cc spreads the rows over the threads. All give the
// same bits: sums are chains of fused multiply-adds over ascending columns, and the rest is common.
namespace kernels {

// Residuals, steps from the zero, weights before, and products of `rows` rows.
constexpr int64_t RefineScratchFloats(int rows, int64_t columns) {
  return 4 * rows * columns;
}

// The scale that lowers the loss most, as it is stored: gradient is that of the loss by the scale
// over -2, curvature that over 2. The same scale where no other lowers it.
float BetterScale(float scale, float gradient, float curvature, DType dtype);

namespace reference {
constexpr int kRefineRows = 1;
void RefineRows(const RefineBlockArgs& args, int64_t first, int rows, float* scratch);
}  // namespace reference

#if defined(__x86_64__)
namespace avx2 {
constexpr int kRefineRows = 8;
void RefineRows(const RefineBlockArgs& args, int64_t first, int rows, float* scratch);
}  // namespace avx2

namespace avx512 {
constexpr int kRefineRows = 16;
void RefineRows(const RefineBlockArgs& args, int64_t first, int rows, float* scratch);
}  // namespace avx512
#endif

}  // namespace kernels
