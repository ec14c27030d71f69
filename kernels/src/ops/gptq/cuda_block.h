#pragma once

#include "cuda/launch.h"
#include "ops/gptq/cuda_grid.h"
#include "ops/gptq/cuda_rows.h"

// What the kernels of gptqBlock share.
namespace kernels::cuda {

// A block of columns as kernels see it; pointers and rows begin at its first column.
struct GptqColumns {
  int64_t rows;
  ColumnGroups groups;
  Matrix<float> w;
  Matrix<const float> factor;
  const float* importance;  // or null
  GridOptions grid;
  RangeSource range;
  Matrix<float> scales;
  Matrix<int32_t> zeros;
  Matrix<uint8_t> codes;
  Matrix<float> error;
};

// For blocks of any width; cuda_block.cu has those of at most kBlockColumns.
void RunWideGptqBlock(Session& session, const GptqColumns& block, FaultSink faults);

}  // namespace kernels::cuda
