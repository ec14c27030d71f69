#pragma once

#include <cstddef>

#include "ops/gptq/gptq.h"
#include "ops/gptq/grid.h"

// What an instruction set provides; dispatch.cc spreads the rows over the threads. All give the
// same bits: ranges are exact, grids come from GridOfRange, quotients and errors are divisions, and
// a correction is one fused multiply-add. kGptqRows is the number of rows that one call of GptqRows
// takes at most; its scratch has GptqScratchFloats(kGptqRows, end - begin) floats.
namespace kernels {

// Weights, their copy from when the block began, errors and codes of `rows` rows, and one row.
constexpr int64_t GptqScratchFloats(int rows, int64_t columns) {
  return (4 * rows + 1) * columns;
}

// Of a vector that may be empty, then null.
inline const float* From(const Tensor& vector, int64_t index) {
  return vector.empty() ? nullptr : vector.As<float>() + index;
}

namespace reference {
constexpr int kGptqRows = 1;
void FindGridRow(const FindGridArgs& args, int64_t row);
void RoundToGridRow(const RoundToGridArgs& args, int64_t row);
void GptqRows(const GptqBlockArgs& args, int64_t first, int rows, float* scratch);
}  // namespace reference

#if defined(__x86_64__)
namespace avx2 {
constexpr int kGptqRows = 8;
void FindGridRow(const FindGridArgs& args, int64_t row);
void RoundToGridRow(const RoundToGridArgs& args, int64_t row);
void GptqRows(const GptqBlockArgs& args, int64_t first, int rows, float* scratch);
}  // namespace avx2

namespace avx512 {
constexpr int kGptqRows = 16;
void FindGridRow(const FindGridArgs& args, int64_t row);
void RoundToGridRow(const RoundToGridArgs& args, int64_t row);
void GptqRows(const GptqBlockArgs& args, int64_t first, int rows, float* scratch);
}  // namespace avx512
#endif

}  // namespace kernels
