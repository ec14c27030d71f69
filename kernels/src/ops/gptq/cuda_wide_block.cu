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
    for (int64_t j = lane; j < all.groups.columns; j += kWarpSize) start[j] = w[j];
  }

  // Of the group whose columns these are.
  __device__ Grid FindGrid(int64_t column, int64_t end) const {
    const int32_t group = all.groups.group[column];
    if (all.range == RangeSource::kGiven)
      return {all.scales.Row(row)[group], static_cast<float>(all.zeros.Row(row)[group])};
    // What other lanes have corrected, and the row's start.
    __syncwarp();
    const GroupColumns columns = {(all.range == RangeSource::kStale ? start : w) + column,
                                  all.importance == nullptr ? nullptr : all.importance + column,
                                  end - column};
    const Grid grid = GridOfColumns<kWarpSize>(columns, all.grid, lane);
    if (lane == 0) {
      all.scales.Row(row)[group] = grid.scale;
      all.zeros.Row(row)[group] = static_cast<int32_t>(grid.zero);
    }
    return grid;
  }

  __device__ void Quantize(int64_t i, Grid grid) const {
    const int owner = static_cast<int>(i % kWarpSize);
    const float x = __shfl_sync(kAllLanes, lane == owner ? w[i] : 0.0f, owner);
    const Rounded rounded = RoundToCode(x, grid, MaxCode(all.grid.bits));
    const float* factor = all.factor.Row(i);
    const float error = (x - rounded.value) / factor[i];
    for (int64_t j = i - owner + lane; j < all.groups.columns; j += kWarpSize)
      if (j > i) w[j] = __fmaf_rn(-error, factor[j], w[j]);
    if (lane != owner) return;
    w[i] = rounded.value;
    all.codes.Row(row)[i] = static_cast<uint8_t>(rounded.code);
    all.error.Row(row)[i] = error;
  }

  __device__ void QuantizeAll() const {
    int64_t end = all.groups.RunEnd(0);
    for (int64_t begin = 0; begin < all.groups.columns;) {
      const Grid grid = FindGrid(begin, end);
      const int64_t next = end < all.groups.columns ? all.groups.RunEnd(end) : end;
      for (int64_t i = begin; i < end; ++i) Quantize(i, grid);
      begin = end;
      end = next;
    }
  }
};

__global__ void __launch_bounds__(kThreads, 4)
    WideGptqBlockKernel(GptqColumns all, float* start, FaultSink faults) {
  const int64_t row = int64_t{blockIdx.x} * (kThreads / kWarpSize) + threadIdx.x / kWarpSize;
  if (row >= all.rows) return;  // a whole warp
  if (!all.groups.Check(faults)) return;
  const WideRow warp = {all, row, static_cast<int>(threadIdx.x % kWarpSize), all.w.Row(row),
                        start == nullptr ? nullptr : start + row * all.groups.columns};
  if (start != nullptr) warp.KeepStart();
  warp.QuantizeAll();
}

}  // namespace

void RunWideGptqBlock(Session& session, const GptqColumns& block, FaultSink faults) {
  float* start = block.range == RangeSource::kStale
                     ? session.Scratch<float>(block.rows * block.groups.columns)
                     : nullptr;
  Launch(
      session, WideGptqBlockKernel,
      {.blocks_x = BlockCount(CeilDivide(block.rows, kThreads / kWarpSize)), .threads = kThreads},
      block, start, faults);
}

}  // namespace kernels::cuda
