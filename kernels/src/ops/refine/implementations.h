#pragma once

#include <cstddef>

#include "ops/refine/refine.h"
#include "ops/refine/scale.h"

// What an instruction set provides; dispatch.cc spreads the rows over the threads. All give the
// same bits: sums are chains of fused multiply-adds over ascending columns, and the rest is common.
namespace kernels {

// Residuals, steps from the zero, weights before, and products of `rows` rows.
constexpr int64_t RefineScratchFloats(int rows, int64_t columns) {
  return 4 * rows * columns;
}

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
