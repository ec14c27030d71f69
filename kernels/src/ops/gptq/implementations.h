#pragma once

#include <cstddef>

#include "ops/gptq/gptq.h"
#include "ops/gptq/grid.h"

// What an instruction set provides; dispatch.cc spreads the rows over the threads. All give the
// same bits: ranges are exact, grids come from GridOfRange, quotients and errors are divisions, and
// a correction is one fused multiply-add.
namespace kernels {

namespace reference {
constexpr int kGptqRows = 1;  // rows that one call of GptqRows takes at most
void FindGridRow(const FindGridArgs& args, int64_t row);
void RoundToGridRow(const RoundToGridArgs& args, int64_t row);
// `scratch` has GptqScratchFloats(kGptqRows, end - begin) floats.
void GptqRows(const GptqBlockArgs& args, int64_t first, int rows, float* scratch);
}  // namespace reference

// Weights, their copy from when the block began, errors and codes of `rows` rows.
constexpr int64_t GptqScratchFloats(int rows, int64_t columns) {
  return 4 * rows * columns;
}

}  // namespace kernels
