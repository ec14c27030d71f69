#include "cuda/launch.h"
#include "ops/gptq/cuda_grid.h"

// Grids of groups, a warp for each, and rounding to them, a thread for each weight.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;

struct Groups {
  int64_t rows, in, size, count;  // `count` in each row
};

__global__ void __launch_bounds__(kThreads)
    FindGridKernel(Matrix<const float> w, Groups groups, GridOptions options,
                   const float* importance, Matrix<float> scales, Matrix<int32_t> zeros) {
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  const int64_t index = int64_t{blockIdx.x} * (kThreads / kWarpSize) + threadIdx.x / kWarpSize;
  if (index >= groups.rows * groups.count) return;  // a whole warp
  const int64_t row = index / groups.count;
  const int64_t group = index % groups.count;
  const int64_t first = group * groups.size;
  const int64_t left = groups.in - first;
  const GroupColumns columns = {w.Row(row) + first,
                                importance == nullptr ? nullptr : importance + first,
                                left < groups.size ? left : groups.size};
  const Grid grid = GridOfColumns<kWarpSize>(columns, options, lane);
  if (lane != 0) return;
  scales.Row(row)[group] = grid.scale;
  zeros.Row(row)[group] = static_cast<int32_t>(grid.zero);
}

void RunFindGrid(Session& session, const FindGridArgs& args) {
  const Groups groups = {args.w.shape[0], args.w.shape[1], args.group_size, args.scales.shape[1]};
  Launch(session, FindGridKernel,
         {.blocks_x = BlockCount(CeilDivide(groups.rows * groups.count, kThreads / kWarpSize)),
          .threads = kThreads},
         MatrixOf<const float>(args.w), groups, args.grid, VectorOf(args.importance),
         MatrixOf<float>(args.scales), MatrixOf<int32_t>(args.zeros));
}

const Operation<FindGridArgs, RunFindGrid> find_grid("findGrid");

struct Rounding {
  Matrix<float> w;
  int64_t rows, in;
  const int32_t* column_group;
  float max_code;
  Matrix<const float> scales;
  Matrix<const int32_t> zeros;
  int64_t groups;
  Matrix<uint8_t> codes;
};

const int32_t kRoundFault = RegisterFault("roundToGrid: columnGroup");

// A thread has one column of several rows, whose group it reads once.
constexpr int kRowsPerThread = 8;

__global__ void __launch_bounds__(kThreads) RoundToGridKernel(Rounding all, FaultSink faults) {
  const int64_t tiles = (all.in + kThreads - 1) / kThreads;
  const int64_t column = blockIdx.x % tiles * kThreads + threadIdx.x;
  if (column >= all.in) return;
  const int32_t group = all.column_group[column];
  if (group < 0 || group >= all.groups) {
    faults.Report(column, group, 0, all.groups);
    return;
  }
  const int64_t first = blockIdx.x / tiles * kRowsPerThread;
#pragma unroll
  for (int i = 0; i < kRowsPerThread; ++i) {
    const int64_t row = first + i;
    if (row >= all.rows) return;
    float& w = all.w.Row(row)[column];
    const Grid grid = {all.scales.Row(row)[group], static_cast<float>(all.zeros.Row(row)[group])};
    const Rounded rounded = RoundToCode(w, grid, all.max_code);
    w = rounded.value;
    all.codes.Row(row)[column] = static_cast<uint8_t>(rounded.code);
  }
}

void RunRoundToGrid(Session& session, const RoundToGridArgs& args) {
  const Rounding all = {MatrixOf<float>(args.w),
                        args.w.shape[0],
                        args.w.shape[1],
                        args.column_group.As<const int32_t>(),
                        MaxCode(args.bits),
                        MatrixOf<const float>(args.scales),
                        MatrixOf<const int32_t>(args.zeros),
                        args.scales.shape[1],
                        MatrixOf<uint8_t>(args.codes)};
  Launch(
      session, RoundToGridKernel,
      {.blocks_x = BlockCount(CeilDivide(all.in, kThreads) * CeilDivide(all.rows, kRowsPerThread)),
       .threads = kThreads},
      all, FaultSink{session.faults(), kRoundFault});
}

const Operation<RoundToGridArgs, RunRoundToGrid> round_to_grid("roundToGrid");

}  // namespace

}  // namespace kernels::cuda
