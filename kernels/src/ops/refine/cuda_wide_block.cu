#include <algorithm>

#include "ops/refine/cuda_block.h"

// Coordinate descent on a block of any width, for groups of more than 128 columns: a block of
// threads has eight rows, which stay in memory, so that it reads the Hessian once for all of them.
namespace kernels::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kRows = kWarps;  // one for each warp where it is one after another
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kColumnsPerThread = 2;
// Columns whose steps are in shared memory at once.
constexpr int kStepColumns = 128;
// Rows of one launch; bounds the scratch memory.
constexpr int64_t kChunkRows = 2048;

struct Memory {
  float4 steps[kStepColumns][kRows / 4];
  float change[kRows];
};

// Of the chunk's rows, [rows][columns].
struct Scratch {
  float* residual;
  float* steps;  // code - zero
  float* product;
};

struct WideRows {
  const RefineColumns& all;
  Scratch scratch;
  Memory& memory;
  int64_t first;  // row
  int rows;
  int64_t columns;
  int thread, warp, lane;

  __device__ int64_t At(int row, int64_t column) const {
    return (int64_t{blockIdx.x} * kRows + row) * columns + column;
  }

  template <class F>
  __device__ void ForEach(F f) const {
    for (int row = 0; row < rows; ++row) {
      for (int64_t j = thread; j < columns; j += kThreads) f(row, j);
    }
  }

  __device__ void Read() const {
    ForEach([&](int row, int64_t j) {
      scratch.residual[At(row, j)] = all.residual.Row(first + row)[j];
      scratch.steps[At(row, j)] =
          static_cast<float>(all.codes.Row(first + row)[j]) - all.Zero(first + row, j);
    });
  }

  __device__ void Write() const {
    ForEach([&](int row, int64_t j) {
      all.Write(first + row, j, all.Scale(first + row, j), scratch.steps[At(row, j)],
                all.Zero(first + row, j), scratch.residual[At(row, j)]);
    });
  }

  // Steps of columns [begin, begin + count), zeros for rows that there are not.
  __device__ void ShareSteps(int64_t begin, int count) const {
    __syncthreads();
    for (int i = thread; i < count * kRows; i += kThreads) {
      const int row = i / count;
      const int column = i % count;
      reinterpret_cast<float*>(memory.steps[column])[row] =
          row < rows ? scratch.steps[At(row, begin + column)] : 0.0f;
    }
    __syncthreads();
  }

  // Products of kColumnsPerThread columns, kThreads apart, with the steps of [begin, end).
  __device__ void MultiplyColumns(int64_t column, int64_t begin, int64_t end) const {
    float sums[kColumnsPerThread][kRows] = {};
    for (int64_t from = begin; from < end; from += kStepColumns) {
      const int count = static_cast<int>(end - from < kStepColumns ? end - from : kStepColumns);
      ShareSteps(from, count);
      for (int i = 0; i < count; ++i) {
        float steps[kRows];
#pragma unroll
        for (int four = 0; four < kRows / 4; ++four) {
          const float4 x = memory.steps[i][four];
          steps[4 * four] = x.x, steps[4 * four + 1] = x.y;
          steps[4 * four + 2] = x.z, steps[4 * four + 3] = x.w;
        }
        const float* hessian = all.hessian.Row(from + i);
#pragma unroll
        for (int c = 0; c < kColumnsPerThread; ++c) {
          const int64_t j = column + c * kThreads;
          const float h = j < columns ? hessian[j] : 0.0f;
#pragma unroll
          for (int row = 0; row < kRows; ++row)
            sums[c][row] = __fmaf_rn(steps[row], h, sums[c][row]);
        }
      }
    }
#pragma unroll
    for (int c = 0; c < kColumnsPerThread; ++c) {
      const int64_t j = column + c * kThreads;
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        if (j < columns && row < rows) scratch.product[At(row, j)] = sums[c][row];
      }
    }
  }

  // sum + a[begin .. end) b[begin .. end), one after another, by a warp.
  __device__ float Chain(const float* a, const float* b, int64_t begin, int64_t end) const {
    float sum = 0.0f;
    for (int64_t from = begin; from < end; from += kWarpSize) {
      const bool is_inside = from + lane < end;
      const float x = is_inside ? a[from + lane] : 0.0f;
      const float y = is_inside ? b[from + lane] : 0.0f;
      const int count = static_cast<int>(end - from < kWarpSize ? end - from : kWarpSize);
      for (int i = 0; i < count; ++i)
        sum = __fmaf_rn(__shfl_sync(kAllLanes, x, i), __shfl_sync(kAllLanes, y, i), sum);
    }
    return sum;
  }

  __device__ void ReplaceScale(int64_t begin, int64_t end) const {
    const float* steps = scratch.steps + At(warp, 0);
    const float curvature = Chain(steps, scratch.product + At(warp, 0), begin, end);
    const float gradient = Chain(steps, scratch.residual + At(warp, 0), begin, end);
    if (lane != 0) return;
    float& scale = all.scales.Row(first + warp)[all.groups.group[begin]];
    const float better = BetterScale(scale, gradient, curvature, all.scale_dtype);
    memory.change[warp] = better - scale;
    scale = better;
  }

  __device__ void RefineScale(int64_t begin, int64_t end) const {
    for (int64_t j = 0; j < columns; j += kThreads * kColumnsPerThread)
      MultiplyColumns(j + thread, begin, end);
    __syncthreads();
    if (warp < rows) ReplaceScale(begin, end);
    __syncthreads();
    ForEach([&](int row, int64_t j) {
      float& residual = scratch.residual[At(row, j)];
      residual = __fmaf_rn(-memory.change[row], scratch.product[At(row, j)], residual);
    });
  }

  __device__ void RefineScales() const {
    for (int64_t begin = 0; begin < columns;) {
      const int64_t end = all.groups.RunEnd(begin);
      RefineScale(begin, end);
      begin = end;
    }
  }

  __device__ void RefineCodes() const {
    for (int64_t column = 0; column < columns; ++column) {
      // All have updated their columns.
      __syncthreads();
      const float* hessian = all.hessian.Row(column);
      if (warp < rows && lane == 0) {
        const Grid grid = {all.Scale(first + warp, column), all.Zero(first + warp, column)};
        float& step = scratch.steps[At(warp, column)];
        const Step better = BetterStep(step, grid, scratch.residual[At(warp, column)],
                                       hessian[column], MaxCode(all.bits));
        step = better.step;
        memory.change[warp] = better.change;
      }
      __syncthreads();
      ForEach([&](int row, int64_t j) {
        const float change = memory.change[row];
        float& residual = scratch.residual[At(row, j)];
        if (change != 0.0f) residual = __fmaf_rn(-change, hessian[j], residual);
      });
    }
  }
};

__global__ void __launch_bounds__(kThreads, 2)
    WideRefineBlockKernel(RefineColumns all, int64_t chunk, Scratch scratch, RefineFaults faults) {
  SHARED(Memory, memory);
  // Every warp finds the same.
  if (!all.Check(faults)) return;
  const int64_t first = chunk + int64_t{blockIdx.x} * kRows;
  const int64_t left = all.rows - first;
  const int thread = static_cast<int>(threadIdx.x);
  const WideRows rows = {all,
                         scratch,
                         memory,
                         first,
                         static_cast<int>(left < kRows ? left : kRows),
                         all.groups.columns,
                         thread,
                         thread / kWarpSize,
                         thread % kWarpSize};
  rows.Read();
  for (int sweep = 0; sweep < all.sweeps; ++sweep) {
    if (all.refines_scales) rows.RefineScales();
    if (all.refines_codes) rows.RefineCodes();
  }
  rows.Write();
}

}  // namespace

void RunWideRefineBlock(Session& session, const RefineColumns& block, const RefineFaults& faults) {
  const int64_t most = CeilDivide(std::min(block.rows, kChunkRows), kRows) * kRows;
  const int64_t size = most * block.groups.columns;
  float* floats = session.Scratch<float>(3 * size);
  const Scratch scratch = {floats, floats + size, floats + 2 * size};
  for (int64_t chunk = 0; chunk < block.rows; chunk += kChunkRows) {
    const int64_t rows = std::min(kChunkRows, block.rows - chunk);
    Launch(session, WideRefineBlockKernel,
           {.blocks_x = BlockCount(CeilDivide(rows, kRows)), .threads = kThreads}, block, chunk,
           scratch, faults);
  }
}

}  // namespace kernels::cuda
