#include "ops/gptq/cuda_block.h"

// GPTQ on a block of any width: a warp for each row, which stays in memory. Lane l has columns l,
// l + 32, ...
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 128;

struct WideRow {
  const GptqColumns& all;
  int64_t row;
  int lane;
  float* w;
  float* start;  // w as it was when the block began; only for RangeSource::kStale

  __device__ void KeepStart() const {
    for (int64_t j = lane; j < all.columns; j += kWarpSize) start[j] = w[j];
  }

  __device__ int64_t RunLength(int64_t column) const {
    const int32_t group = all.column_group[column];
    int64_t end = column + 1;
    while (end < all.columns && all.column_group[end] == group) ++end;
    return end - column;
  }

  __device__ void FindGrid(int64_t column) const {
    // What other lanes have corrected, and the row's start.
    __syncwarp();
    const GroupColumns columns = {(all.range == RangeSource::kStale ? start : w) + column,
                                  all.importance == nullptr ? nullptr : all.importance + column,
                                  RunLength(column)};
    const Grid grid = GridOfColumns<kWarpSize>(columns, all.grid, lane);
    if (lane == 0) {
      const int32_t group = all.column_group[column];
      all.scales.Row(row)[group] = grid.scale;
      all.zeros.Row(row)[group] = static_cast<int32_t>(grid.zero);
    }
    __syncwarp();
  }

  __device__ void Quantize(int64_t i) const {
    const int32_t group = all.column_group[i];
    const bool starts = i == 0 || group != all.column_group[i - 1];
    if (starts && all.range != RangeSource::kGiven) FindGrid(i);
    const Grid grid = {all.scales.Row(row)[group], static_cast<float>(all.zeros.Row(row)[group])};
    const int owner = static_cast<int>(i % kWarpSize);
    const float x = __shfl_sync(kAllLanes, lane == owner ? w[i] : 0.0f, owner);
    const Rounded rounded = RoundToCode(x, grid, MaxCode(all.grid.bits));
    const float* factor = all.factor.Row(i);
    const float error = (x - rounded.value) / factor[i];
    for (int64_t j = i - owner + lane; j < all.columns; j += kWarpSize)
      if (j > i) w[j] = __fmaf_rn(-error, factor[j], w[j]);
    if (lane != owner) return;
    w[i] = rounded.value;
    all.codes.Row(row)[i] = static_cast<uint8_t>(rounded.code);
    all.error.Row(row)[i] = error;
  }
};

__global__ void __launch_bounds__(kThreads)
    WideGptqBlockKernel(GptqColumns all, float* start, FaultSink faults) {
  const int64_t row = int64_t{blockIdx.x} * (kThreads / kWarpSize) + threadIdx.x / kWarpSize;
  if (row >= all.rows) return;  // a whole warp
  for (int64_t j = 0; j < all.columns; j += kWarpSize)
    if (!all.CheckGroups(j, faults)) return;
  const WideRow warp = {all, row, static_cast<int>(threadIdx.x % kWarpSize), all.w.Row(row),
                        start == nullptr ? nullptr : start + row * all.columns};
  if (start != nullptr) warp.KeepStart();
  for (int64_t i = 0; i < all.columns; ++i) warp.Quantize(i);
}

}  // namespace

void RunWideGptqBlock(Session& session, const GptqColumns& block, FaultSink faults) {
  float* start = block.range == RangeSource::kStale
                     ? session.Scratch<float>(block.rows * block.columns)
                     : nullptr;
  Launch(
      session, WideGptqBlockKernel,
      {.blocks_x = BlockCount(CeilDivide(block.rows, kThreads / kWarpSize)), .threads = kThreads},
      block, start, faults);
}

}  // namespace kernels::cuda
