#include "ops/gptq/cuda_block.h"

#include "cuda/async_copy.h"

// GPTQ on a block of at most 128 columns. Eight lanes have a row, each its columns 4 s to 4 s + 3
// of every 32, in registers: a warp rounds four weights at a time, and what a block of threads
// needs of the factor, shared memory has. Rows do not meet, so one launch does it all.
namespace kernels::cuda {

namespace {

constexpr int kRowLanes = 8;
constexpr int kRowsPerWarp = kWarpSize / kRowLanes;
constexpr int kWarps = 4;
constexpr int kRows = kWarps * kRowsPerWarp;
constexpr int kQuads = kGptqColumns / kWarpSize;  // of a lane
// Four rows' values of one column lie in different banks.
constexpr int kStride = kGptqColumns + 4;

struct BlockMemory {
  float factor[kGptqColumns][kGptqColumns];
  float scale[kRows][kStride];  // of every column, for RangeSource::kGiven
  float zero[kRows][kStride];
  float w[kRows][kStride];  // rounded, before that of a group whose grid is looked for
  float error[kRows][kStride];
  uint8_t codes[kRows][kGptqColumns];
  uint32_t starts[kQuads];  // bit i % 32 of word i / 32: a group begins at column i
};

// A group's columns end before this one.
__device__ int RunEnd(const uint32_t (&starts)[kQuads], int column, int columns) {
  for (int at = column + 1; at < columns; at = (at | (kWarpSize - 1)) + 1) {
    const uint32_t later = starts[at / kWarpSize] >> (at % kWarpSize);
    if (later != 0) return at + __popc((later & -later) - 1);
  }
  return columns;
}

__device__ bool IsAligned(const void* pointer, uintptr_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// The factor's block, from the 32 columns on that a row's diagonal lies in.
__device__ void LoadFactor(const GptqColumns& all, BlockMemory& memory) {
  constexpr int kFours = kGptqColumns / 4;
  const int columns = static_cast<int>(all.columns);
  for (int at = static_cast<int>(threadIdx.x); at < columns * kFours;
       at += static_cast<int>(blockDim.x)) {
    const int row = at / kFours;
    const int column = at % kFours * 4;
    if (column < row / kWarpSize * kWarpSize || column >= columns) continue;
    const float* from = all.factor.Row(row) + column;
    float* to = &memory.factor[row][column];
    if (column + 4 <= columns && IsAligned(from, 16)) {
      CopyAsync16(to, from);
      continue;
    }
    for (int i = 0; i < 4 && column + i < columns; ++i) to[i] = from[i];
  }
  CommitCopies();
}

__device__ void FindStarts(const GptqColumns& all, uint32_t (&starts)[kQuads]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int quad = 0; quad < kQuads; ++quad) {
    const int i = quad * kWarpSize + lane;
    const bool is_start =
        i < all.columns && (i == 0 || all.column_group[i] != all.column_group[i - 1]);
    const uint32_t bits = __ballot_sync(kAllLanes, is_start);
    if (lane == 0) starts[quad] = bits;
  }
}

// A row in the hands of its lanes.
template <RangeSource kRange>
struct Row {
  const GptqColumns& all;
  BlockMemory& memory;
  int64_t row;  // one past the last has zeros and is not written
  int at;       // among the block's rows
  int lane;     // of the row's
  int columns;
  // From the 32 columns on in which the current one lies.
  float w[kQuads][4];

  __device__ bool exists() const { return row < all.rows; }

  template <class F>
  __device__ __forceinline__ void ForEachColumn(F f) {
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
#pragma unroll
      for (int i = 0; i < 4; ++i) f(quad * kWarpSize + lane * 4 + i, w[quad][i]);
    }
  }

  __device__ __forceinline__ void Read() {
    ForEachColumn([&](int column, float& value) {
      const bool is_inside = exists() && column < columns;
      value = is_inside ? all.w.Row(row)[column] : 0.0f;
      if (kRange != RangeSource::kGiven) return;
      const int32_t group = is_inside ? all.column_group[column] : 0;
      memory.scale[at][column] = is_inside ? all.scales.Row(row)[group] : 1.0f;
      memory.zero[at][column] = is_inside ? static_cast<float>(all.zeros.Row(row)[group]) : 0.0f;
    });
  }

  // Of the group that begins at a column, which all rows have in common.
  __device__ __forceinline__ Grid FindGrid(int column) {
    const int end = RunEnd(memory.starts, column, columns);
    float* source = memory.w[at];
    if (kRange == RangeSource::kStale) {
      for (int j = column + lane; j < end; j += kRowLanes)
        source[j] = exists() ? all.w.Row(row)[j] : 0.0f;
    } else {
      const int first = column / kWarpSize * kWarpSize;
      ForEachColumn([&](int j, float& value) {
        if (first + j >= column && first + j < end) source[first + j] = value;
      });
    }
    __syncwarp();
    const GroupColumns group = {source + column,
                                all.importance == nullptr ? nullptr : all.importance + column,
                                end - column};
    const Grid grid = GridOfColumns<kRowLanes>(group, all.grid, lane);
    if (lane == 0 && exists()) {
      const int32_t index = all.column_group[column];
      all.scales.Row(row)[index] = grid.scale;
      all.zeros.Row(row)[index] = static_cast<int32_t>(grid.zero);
    }
    // All have read before the first of them writes a rounded weight.
    __syncwarp();
    return grid;
  }

  // Rounds a column and corrects the later ones.
  __device__ __forceinline__ void Quantize(int column, Grid grid, float max_code) {
    const int among = column % kWarpSize;
    const int owner = among / 4;
    const float mine = among % 2 == 0 ? (among % 4 == 0 ? w[0][0] : w[0][2])
                                      : (among % 4 == 1 ? w[0][1] : w[0][3]);
    const float x =
        __shfl_sync(kAllLanes, mine, threadIdx.x % kWarpSize / kRowLanes * kRowLanes + owner);
    const Rounded rounded = RoundToCode(x, grid, max_code);
    const float* factor = memory.factor[column];
    const float error = (x - rounded.value) / factor[column];
    if (lane == owner) {
      memory.w[at][column] = rounded.value;
      memory.error[at][column] = error;
      memory.codes[at][column] = static_cast<uint8_t>(rounded.code);
    }
    const int first = column - among;
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
      if (first + quad * kWarpSize >= columns) break;
      const float4 u =
          *reinterpret_cast<const float4*>(factor + first + quad * kWarpSize + lane * 4);
      const float right[4] = {u.x, u.y, u.z, u.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (quad > 0 || lane * 4 + i > among) w[quad][i] = __fmaf_rn(-error, right[i], w[quad][i]);
      }
    }
  }

  __device__ __forceinline__ void NextQuad() {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int quad = 0; quad + 1 < kQuads; ++quad) w[quad][i] = w[quad + 1][i];
    }
  }

  __device__ __forceinline__ void QuantizeAll() {
    const float max_code = MaxCode(all.grid.bits);
    Grid grid = {1.0f, 0.0f};
    for (int column = 0; column < columns; ++column) {
      if (column > 0 && column % kWarpSize == 0) NextQuad();
      if (kRange == RangeSource::kGiven) {
        grid = {memory.scale[at][column], memory.zero[at][column]};
      } else if ((memory.starts[column / kWarpSize] >> (column % kWarpSize) & 1) != 0) {
        grid = FindGrid(column);
      }
      Quantize(column, grid, max_code);
    }
  }
};

template <class T, int kStrideOf>
__device__ void WriteRows(const T (&from)[kRows][kStrideOf], Matrix<T> to, int64_t first,
                          const GptqColumns& all) {
  // Each warp its own rows: what its lanes have written, they see.
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int i = warp * kRowsPerWarp; i < (warp + 1) * kRowsPerWarp; ++i) {
    if (first + i >= all.rows) return;
    T* row = to.Row(first + i);
    for (int j = lane; j < all.columns; j += kWarpSize) row[j] = from[i][j];
  }
}

template <RangeSource kRange>
__global__ void __launch_bounds__(kWarps* kWarpSize, 2)
    GptqBlockKernel(GptqColumns all, FaultSink faults) {
  DYNAMIC_SHARED(BlockMemory, memory);
  // Every warp finds the same.
  for (int64_t j = 0; j < all.columns; j += kWarpSize)
    if (!all.CheckGroups(j, faults)) return;
  LoadFactor(all, *memory);
  if (threadIdx.x < kWarpSize) FindStarts(all, memory->starts);
  const int64_t first = int64_t{blockIdx.x} * kRows;
  const int at = static_cast<int>(threadIdx.x) / kRowLanes;
  Row<kRange> row{all,
                  *memory,
                  first + at,
                  at,
                  static_cast<int>(threadIdx.x) % kRowLanes,
                  static_cast<int>(all.columns),
                  {}};
  row.Read();
  WaitCopies<0>();
  __syncthreads();
  row.QuantizeAll();
  __syncwarp();
  WriteRows(memory->w, all.w, first, all);
  WriteRows(memory->error, all.error, first, all);
  WriteRows(memory->codes, all.codes, first, all);
}

const int32_t kFault = RegisterFault("gptqBlock: columnGroup");

void RunGptqBlock(Session& session, const GptqBlockArgs& args) {
  if (args.begin == args.end) return;
  const auto from = [&](auto matrix, int64_t row) {
    matrix.data += row * matrix.stride + args.begin;
    return matrix;
  };
  const float* importance = VectorOf(args.importance);
  const GptqColumns block = {args.w.shape[0],
                             args.end - args.begin,
                             args.scales.shape[1],
                             from(MatrixOf<float>(args.w), 0),
                             from(MatrixOf<const float>(args.factor), args.begin),
                             args.column_group.As<const int32_t>() + args.begin,
                             importance == nullptr ? nullptr : importance + args.begin,
                             args.grid,
                             args.range,
                             MatrixOf<float>(args.scales),
                             MatrixOf<int32_t>(args.zeros),
                             from(MatrixOf<uint8_t>(args.codes), 0),
                             MatrixOf<float>(args.error),
                             args.begin};
  const FaultSink faults = {session.faults(), kFault};
  if (block.columns > kGptqColumns) return RunWideGptqBlock(session, block, faults);
  auto* kernel = args.range == RangeSource::kGiven     ? GptqBlockKernel<RangeSource::kGiven>
                 : args.range == RangeSource::kUpdated ? GptqBlockKernel<RangeSource::kUpdated>
                                                       : GptqBlockKernel<RangeSource::kStale>;
  Launch(session, kernel,
         {.blocks_x = BlockCount(CeilDivide(block.rows, kRows)),
          .threads = kWarps * kWarpSize,
          .shared_bytes = sizeof(BlockMemory)},
         block, faults);
}

const Operation<GptqBlockArgs, RunGptqBlock> operation("gptqBlock");

}  // namespace

}  // namespace kernels::cuda
