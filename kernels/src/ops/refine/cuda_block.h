#pragma once

#include "cuda/launch.h"
#include "ops/gptq/cuda_grid.h"
#include "ops/gptq/cuda_rows.h"
#include "ops/refine/refine.h"
#include "ops/refine/scale.h"

// What the kernels of refineBlock share.
namespace kernels::cuda {

struct RefineFaults {
  FaultSink group, cut;
};

// A block of columns as kernels see it; pointers and rows begin at its first column.
struct RefineColumns {
  int64_t rows, in;
  ColumnGroups groups;
  Matrix<float> w;
  Matrix<const float> residual;
  Matrix<const float> hessian;
  int bits;
  DType scale_dtype;
  int sweeps;
  bool refines_scales, refines_codes;
  Matrix<float> scales;
  Matrix<const int32_t> zeros;
  Matrix<uint8_t> codes;
  Matrix<float> change;

  // Whether groups are what they must be; reports what is not. A group that goes on outside of the
  // block would be changed behind the residual's back. By whole warps.
  __device__ bool Check(const RefineFaults& faults) const {
    if (!groups.Check(faults.group)) return false;
    if (!refines_scales) return true;
    const int32_t* group = groups.group;
    const int64_t end = groups.begin + groups.columns;
    const bool enters = groups.begin > 0 && group[-1] == group[0];
    const bool leaves = end < in && group[groups.columns] == group[groups.columns - 1];
    if (enters) faults.cut.Report(group[0], groups.begin - 1, groups.begin, end);
    if (leaves) faults.cut.Report(group[groups.columns], end, groups.begin, end);
    return !enters && !leaves;
  }

  __device__ float Zero(int64_t row, int64_t column) const {
    return static_cast<float>(zeros.Row(row)[groups.group[column]]);
  }
  __device__ float Scale(int64_t row, int64_t column) const {
    return scales.Row(row)[groups.group[column]];
  }

  __device__ void Write(int64_t row, int64_t column, float scale, float step, float zero,
                        float rest) const {
    float& weight = w.Row(row)[column];
    const float value = scale * step + 0.0f * rest;
    change.Row(row)[column] = value - weight;
    weight = value;
    codes.Row(row)[column] = static_cast<uint8_t>(step + zero);
  }
};

struct Step {
  float step;    // code - zero, afterwards
  float change;  // of the weight
};

// Where a weight goes whose loss has this residual and curvature.
__device__ __forceinline__ Step BetterStep(float step, Grid grid, float residual, float curvature,
                                           float max_code) {
  const float before = grid.scale * step;
  const float best = before + residual / curvature;
  const float better = CodeInRange(rintf(best / grid.scale) + grid.zero, max_code) - grid.zero;
  // 0 * best keeps what is not finite from becoming harmless.
  return {better, grid.scale * better + 0.0f * best - before};
}

// For blocks of any width; cuda.cu has those of at most kBlockColumns.
void RunWideRefineBlock(Session& session, const RefineColumns& block, const RefineFaults& faults);

}  // namespace kernels::cuda
