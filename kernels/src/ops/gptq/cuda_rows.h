#pragma once

#include "cuda/async_copy.h"
#include "cuda/launch.h"

// Kernels that walk through a block of columns row by row, where a column depends on those before:
// eight lanes have a row, and of it each the columns 4 s to 4 s + 3 of every 32, in registers. What
// a block of threads needs of a square matrix, shared memory has. Also what wider blocks share with
// them.
namespace kernels::cuda {

constexpr int kBlockColumns = 128;
constexpr int kRowLanes = 8;
constexpr int kRowsPerWarp = kWarpSize / kRowLanes;
constexpr int kRowWarps = 4;
constexpr int kBlockRows = kRowWarps * kRowsPerWarp;
constexpr unsigned kBlockThreads = kRowWarps * kWarpSize;
constexpr int kQuads = kBlockColumns / kWarpSize;  // of a lane
// Of rows in shared memory: four rows' values of one column lie in different banks.
constexpr int kRowStride = kBlockColumns + 4;

// The columns of a block, and the groups that they belong to.
struct ColumnGroups {
  const int32_t* group;  // of the block's first column
  int64_t begin, columns;
  int64_t count;  // of the weight's groups

  // Whether every column has a group that there is; reports one that does not. By whole warps.
  __device__ bool Check(FaultSink faults) const {
    bool is_bad = false;
    for (int64_t j = threadIdx.x % kWarpSize; j < columns; j += kWarpSize) {
      if (group[j] >= 0 && group[j] < count) continue;
      is_bad = true;
      faults.Report(begin + j, group[j], 0, count);
    }
    return !__any_sync(kAllLanes, is_bad);
  }

  __device__ bool Starts(int64_t column) const {
    return column == 0 || group[column] != group[column - 1];
  }

  // The end of the run of columns with the group of this one. By whole warps.
  __device__ int64_t RunEnd(int64_t column) const {
    for (int64_t at = column + 1;; at += kWarpSize) {
      const int64_t j = at + threadIdx.x % kWarpSize;
      const uint32_t ends = __ballot_sync(kAllLanes, j >= columns || group[j] != group[column]);
      if (ends != 0) return at + __popc((ends & -ends) - 1);
    }
  }
};

// Bit i % 32 of word i / 32: a group begins at column i.
using GroupStarts = uint32_t[kQuads];

// By one warp.
__device__ __forceinline__ void FindStarts(const ColumnGroups& groups, GroupStarts& starts) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int quad = 0; quad < kQuads; ++quad) {
    const int i = quad * kWarpSize + lane;
    const uint32_t bits = __ballot_sync(kAllLanes, i < groups.columns && groups.Starts(i));
    if (lane == 0) starts[quad] = bits;
  }
}

__device__ __forceinline__ bool IsStart(const GroupStarts& starts, int column) {
  return (starts[column / kWarpSize] >> (column % kWarpSize) & 1) != 0;
}

__device__ __forceinline__ int RunEnd(const GroupStarts& starts, int column, int columns) {
  for (int at = column + 1; at < columns; at = (at | (kWarpSize - 1)) + 1) {
    const uint32_t later = starts[at / kWarpSize] >> (at % kWarpSize);
    if (later != 0) return at + __popc((later & -later) - 1);
  }
  return columns;
}

// Starts to copy the first columns of as many rows; of an upper matrix not the squares of 32 below
// the diagonal.
__device__ __forceinline__ void CopySquare(Matrix<const float> from, int columns, bool is_upper,
                                           float (&to)[kBlockColumns][kBlockColumns]) {
  constexpr int kFours = kBlockColumns / 4;
  for (int at = static_cast<int>(threadIdx.x); at < columns * kFours;
       at += static_cast<int>(blockDim.x)) {
    const int row = at / kFours;
    const int column = at % kFours * 4;
    if (column >= columns || (is_upper && column < row / kWarpSize * kWarpSize)) continue;
    const float* source = from.Row(row) + column;
    if (column + 4 <= columns && reinterpret_cast<uintptr_t>(source) % 16 == 0) {
      CopyAsync16(&to[row][column], source);
      continue;
    }
    for (int i = 0; i < 4 && column + i < columns; ++i) to[row][column + i] = source[i];
  }
  CommitCopies();
}

// One of a lane's four neighbours, the same for all lanes.
__device__ __forceinline__ float PickOfFour(const float (&four)[4], int index) {
  return index % 2 == 0 ? (index == 0 ? four[0] : four[2]) : (index == 1 ? four[1] : four[3]);
}

// From the lane of the same row that has a column.
__device__ __forceinline__ float FromOwner(float value, int owner) {
  return __shfl_sync(kAllLanes, value, threadIdx.x % kWarpSize / kRowLanes * kRowLanes + owner);
}

}  // namespace kernels::cuda
