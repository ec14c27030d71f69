#pragma once

#include "cuda/launch.h"
#include "ops/gptq/cuda_grid.h"

// What the kernels of gptqBlock share.
namespace kernels::cuda {

// A block of columns as kernels see it; pointers and rows begin at its first column.
struct GptqColumns {
  int64_t rows, columns, groups;
  Matrix<float> w;
  Matrix<const float> factor;
  const int32_t* column_group;
  const float* importance;  // or null
  GridOptions grid;
  RangeSource range;
  Matrix<float> scales;
  Matrix<int32_t> zeros;
  Matrix<uint8_t> codes;
  Matrix<float> error;
  int64_t begin;  // among the weight's columns, for reports

  // Whether all of 32 columns belong to groups that there are; reports one that does not.
  __device__ bool CheckGroups(int64_t first, FaultSink faults) const {
    const int64_t column = first + threadIdx.x % kWarpSize;
    const int32_t group = column < columns ? column_group[column] : 0;
    const bool is_bad = group < 0 || group >= groups;
    if (is_bad) faults.Report(begin + column, group, 0, groups);
    return !__any_sync(kAllLanes, is_bad);
  }
};

// For blocks of any width; cuda_block.cu has those that are not wider than kGptqColumns.
constexpr int kGptqColumns = 128;
void RunWideGptqBlock(Session& session, const GptqColumns& block, FaultSink faults);

}  // namespace kernels::cuda
