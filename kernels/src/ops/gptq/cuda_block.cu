#include "ops/gptq/cuda_block.h"

// GPTQ on a block of at most 128 columns: a warp rounds four weights at a time. Rows do not meet,
// so one launch does it all.
namespace kernels::cuda {

namespace {

struct BlockMemory {
  float factor[kBlockColumns][kBlockColumns];
  float scale[kBlockRows][kRowStride];  // of every column, for RangeSource::kGiven
  float zero[kBlockRows][kRowStride];
  float w[kBlockRows][kRowStride];  // rounded, before that of a group whose grid is looked for
  float error[kBlockRows][kRowStride];
  uint8_t codes[kBlockRows][kBlockColumns];
  GroupStarts starts;
};

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
      const int32_t group = is_inside ? all.groups.group[column] : 0;
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
      const int32_t index = all.groups.group[column];
      all.scales.Row(row)[index] = grid.scale;
      all.zeros.Row(row)[index] = static_cast<int32_t>(grid.zero);
    }
    // The grid depends on all that was read: nobody is still reading when a rounded weight is
    // written.
    return grid;
  }

  // Rounds a column and corrects the later ones.
  __device__ __forceinline__ void Quantize(int column, Grid grid, float max_code) {
    const int among = column % kWarpSize;
    const int owner = among / 4;
    const float x = FromOwner(PickOfFour(w[0], among % 4), owner);
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
      } else if (IsStart(memory.starts, column)) {
        grid = FindGrid(column);
      }
      Quantize(column, grid, max_code);
    }
  }
};

template <class T, int kStrideOf>
__device__ void WriteRows(const T (&from)[kBlockRows][kStrideOf], Matrix<T> to, int64_t first,
                          const GptqColumns& all) {
  // Each warp its own rows: what its lanes have written, they see.
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int i = warp * kRowsPerWarp; i < (warp + 1) * kRowsPerWarp; ++i) {
    if (first + i >= all.rows) return;
    T* row = to.Row(first + i);
    for (int j = lane; j < all.groups.columns; j += kWarpSize) row[j] = from[i][j];
  }
}

template <RangeSource kRange>
__global__ void __launch_bounds__(kBlockThreads, 2)
    GptqBlockKernel(GptqColumns all, FaultSink faults) {
  DYNAMIC_SHARED(BlockMemory, memory);
  // Every warp finds the same.
  if (!all.groups.Check(faults)) return;
  const int columns = static_cast<int>(all.groups.columns);
  CopySquare(all.factor, columns, true, memory->factor);
  if (threadIdx.x < kWarpSize) FindStarts(all.groups, memory->starts);
  const int64_t first = int64_t{blockIdx.x} * kBlockRows;
  const int at = static_cast<int>(threadIdx.x) / kRowLanes;
  Row<kRange> row{all,     *memory, first + at, at, static_cast<int>(threadIdx.x) % kRowLanes,
                  columns, {}};
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
                             {args.column_group.As<const int32_t>() + args.begin, args.begin,
                              args.end - args.begin, args.scales.shape[1]},
                             from(MatrixOf<float>(args.w), 0),
                             from(MatrixOf<const float>(args.factor), args.begin),
                             importance == nullptr ? nullptr : importance + args.begin,
                             args.grid,
                             args.range,
                             MatrixOf<float>(args.scales),
                             MatrixOf<int32_t>(args.zeros),
                             from(MatrixOf<uint8_t>(args.codes), 0),
                             MatrixOf<float>(args.error)};
  const FaultSink faults = {session.faults(), kFault};
  if (block.groups.columns > kBlockColumns) return RunWideGptqBlock(session, block, faults);
  auto* kernel = args.range == RangeSource::kGiven     ? GptqBlockKernel<RangeSource::kGiven>
                 : args.range == RangeSource::kUpdated ? GptqBlockKernel<RangeSource::kUpdated>
                                                       : GptqBlockKernel<RangeSource::kStale>;
  Launch(session, kernel,
         {.blocks_x = BlockCount(CeilDivide(block.rows, kBlockRows)),
          .threads = kBlockThreads,
          .shared_bytes = sizeof(BlockMemory)},
         block, faults);
}

const Operation<GptqBlockArgs, RunGptqBlock> operation("gptqBlock");

}  // namespace

}  // namespace kernels::cuda
