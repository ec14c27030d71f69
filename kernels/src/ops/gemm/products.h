#pragma once

#include "ops/gemm/operands.h"

// Kernels of products of two operands (operands.h): total[i, j] = sum over inputs of a[i, .] b[j,
// .], given to out.Write(i, j, total). An element is the same sequence of operations in both
// kernels and wherever it lies, so rows do not depend on one another.
namespace kernels::cuda {

constexpr int64_t Smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

__device__ __forceinline__ int LaneGroup() {
  return static_cast<int>(threadIdx.x) % kWarpSize / 4;
}
__device__ __forceinline__ int LaneInGroup() {
  return static_cast<int>(threadIdx.x) % 4;
}
__device__ __forceinline__ bool IsFinite(float value) {
  return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u;
}

// An element that is not finite: by parts an infinite value meets zeros and rests of either sign,
// which makes NaN of what f32 makes infinity.
template <class A, class B>
__device__ float PlainProduct(const A& a, const B& b, int64_t row, int64_t column) {
  float sum = 0;
#pragma unroll 1
  for (int64_t input = 0; input < a.depth; ++input)
    sum = __fmaf_rn(a.Value(row, input), b.Value(column, input), sum);
  return sum;
}

// Adds a chain that ends before input `end` to a total.
template <class A>
__device__ __forceinline__ float AddChain(const A& a, int64_t row, int64_t end, float total,
                                          float chain) {
  if constexpr (A::kIsScaled) {
    return __fmaf_rn(a.Scale(row, end - 1), chain, total);
  } else {
    return total + chain;
  }
}

// Tiles of kWarpsA * kRowTiles * 16 rows of a by kWarpsB * kColumnTiles * 8 of b for a block.
template <int warps_a, int warps_b, int row_tiles>
struct BlockTile {
  static constexpr int kWarpsA = warps_a, kWarpsB = warps_b, kRowTiles = row_tiles;
  static constexpr int kColumnTiles = 4;
  static constexpr int kThreads = kWarpsA * kWarpsB * kWarpSize;
  static constexpr int kRowsA = kWarpsA * kRowTiles * 16;
  static constexpr int kRowsB = kWarpsB * kColumnTiles * 8;

  // Of the block's tile, where a thread's first sum is.
  static __device__ int RowOfThread() {
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
    return warp % kWarpsA * kRowTiles * 16 + LaneGroup();
  }
  static __device__ int ColumnOfThread() {
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
    return warp / kWarpsA * kColumnTiles * 8 + 2 * LaneInGroup();
  }
};
using SmallTile = BlockTile<2, 2, 2>;  // 64 x 64
using LargeTile = BlockTile<2, 4, 4>;  // 128 x 128

// Where the shared tile has the 16 bytes of inputs 8 t to 8 t + 7 of a row: lanes that read rows in
// turn, and lanes that write one t of neighbouring rows, meet all banks.
__device__ __forceinline__ int Slot(int row, int t) {
  return row * 4 + (t ^ (row >> 1 & 3));
}

// One operand's way from memory through a thread's registers to the shared tile.
template <class Operand, int kRows, int kThreads>
struct Stager {
  static constexpr int kUnits = kRows * 4 / kThreads;
  static_assert(kUnits * kThreads == kRows * 4);
  typename Operand::Raw raw[kUnits];

  static __device__ __forceinline__ int Row(int unit) {
    const int index = static_cast<int>(threadIdx.x) + unit * kThreads;
    return Operand::kRowsAreNeighbours ? index % kRows : index / 4;
  }
  static __device__ __forceinline__ int Quarter(int unit) {
    const int index = static_cast<int>(threadIdx.x) + unit * kThreads;
    return Operand::kRowsAreNeighbours ? index / kRows : index % 4;
  }

  __device__ __forceinline__ void Load(const Operand& operand, int64_t row, int64_t input) {
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit)
      raw[unit] = operand.Load(row + Row(unit), input + Quarter(unit) * kLaneInputs);
  }

  __device__ __forceinline__ void Store(const Operand& operand, uint4* tile) const {
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
      uint4 parts[Operand::kParts];
      operand.Split(raw[unit], parts);
#pragma unroll
      for (int part = 0; part < Operand::kParts; ++part)
        tile[part * kRows * 4 + Slot(Row(unit), Quarter(unit))] = parts[part];
    }
  }
};

template <class A, class B, class Tile>
constexpr int kStageSlots = 4 * (Tile::kRowsA * A::kParts + Tile::kRowsB * B::kParts);

// The products of one step by one warp, from a stage of shared memory.
template <class A, class B, class Tile>
__device__ __forceinline__ void MultiplyStage(
    const uint4* stage, float (&chains)[Tile::kRowTiles][Tile::kColumnTiles][4]) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int g = LaneGroup();
  const int t = LaneInGroup();
  const int row_a = Tile::RowOfThread();
  const int row_b = warp / Tile::kWarpsA * Tile::kColumnTiles * 8 + g;
  const uint4* stage_b = stage + 4 * Tile::kRowsA * A::kParts;
  uint4 b[Tile::kColumnTiles][B::kParts];
#pragma unroll
  for (int tile = 0; tile < Tile::kColumnTiles; ++tile) {
#pragma unroll
    for (int part = 0; part < B::kParts; ++part)
      b[tile][part] = stage_b[part * Tile::kRowsB * 4 + Slot(row_b + tile * 8, t)];
  }
#pragma unroll
  for (int tile = 0; tile < Tile::kRowTiles; ++tile) {
    MultiplyStep<A::kParts - 1>(
        [&](int part, uint4& low, uint4& high) {
          const uint4* plane = stage + part * Tile::kRowsA * 4;
          low = plane[Slot(row_a + tile * 16, t)];
          high = plane[Slot(row_a + tile * 16 + 8, t)];
        },
        b, chains[tile]);
  }
}

// Calls f(row tile, column tile, element, row, column) for each sum that this lane holds.
template <class Tile, class F>
__device__ __forceinline__ void ForEachSum(int64_t first_row, int64_t first_column, const F& f) {
  const int64_t row = first_row + Tile::RowOfThread();
  const int64_t column = first_column + Tile::ColumnOfThread();
#pragma unroll
  for (int i = 0; i < Tile::kRowTiles; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kColumnTiles; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) f(i, j, e, row + i * 16 + e / 2 * 8, column + j * 8 + e % 2);
    }
  }
}

template <class Tile, class A, class B, class Out>
__device__ __forceinline__ void WriteTotals(
    const A& a, const B& b, const Out& out, int64_t first_row, int64_t first_column,
    const float (&totals)[Tile::kRowTiles][Tile::kColumnTiles][4]) {
  uint64_t special = 0;
  ForEachSum<Tile>(first_row, first_column, [&](int i, int j, int e, int64_t row, int64_t column) {
    if (row >= a.rows || column >= b.rows) return;
    if (IsFinite(totals[i][j][e])) {
      out.Write(row, column, totals[i][j][e]);
    } else {
      special |= uint64_t{1} << ((i * Tile::kColumnTiles + j) * 4 + e);
    }
  });
  if (special == 0) return;
  const int64_t own_row = first_row + Tile::RowOfThread();
  const int64_t own_column = first_column + Tile::ColumnOfThread();
#pragma unroll 1
  for (int at = 0; at < Tile::kRowTiles * Tile::kColumnTiles * 4; ++at) {
    if ((special >> at & 1) == 0) continue;
    const int64_t row = own_row + at / 4 / Tile::kColumnTiles * 16 + at % 4 / 2 * 8;
    const int64_t column = own_column + at / 4 % Tile::kColumnTiles * 8 + at % 2;
    out.Write(row, column, PlainProduct(a, b, row, column));
  }
}

// Many rows on both sides: a block for each tile; the next step's operands are read from memory
// while this one's are multiplied from shared memory.
template <class A, class B, class Out, class Tile>
__global__ void __launch_bounds__(Tile::kThreads) ProductKernel(A a, B b, Out out, int64_t depth) {
  DYNAMIC_SHARED(uint4, shared);
  const int64_t row = int64_t{blockIdx.x} * Tile::kRowsA;
  const int64_t column = int64_t{blockIdx.y} * Tile::kRowsB;
  if (out.Skips(row, column + Tile::kRowsB)) return;
  constexpr int kSlots = kStageSlots<A, B, Tile>;
  Stager<A, Tile::kRowsA, Tile::kThreads> stager_a;
  Stager<B, Tile::kRowsB, Tile::kThreads> stager_b;
  const auto load = [&](int64_t input) {
    stager_a.Load(a, row, input);
    stager_b.Load(b, column, input);
  };
  const auto store = [&](int stage) {
    stager_a.Store(a, shared + stage * kSlots);
    stager_b.Store(b, shared + stage * kSlots + 4 * Tile::kRowsA * A::kParts);
  };
  float chains[Tile::kRowTiles][Tile::kColumnTiles][4] = {};
  float totals[Tile::kRowTiles][Tile::kColumnTiles][4] = {};
  load(0);
  store(0);
  __syncthreads();
  int stage = 0;
  for (int64_t input = 0; input < depth; input += kStep, stage ^= 1) {
    const int64_t next = input + kStep;
    if (next < depth) load(next);
    MultiplyStage<A, B, Tile>(shared + stage * kSlots, chains);
    if (next >= depth || next % a.ChainLength() == 0) {
      ForEachSum<Tile>(row, column, [&](int i, int j, int e, int64_t at, int64_t) {
        totals[i][j][e] = AddChain(a, at, next, totals[i][j][e], chains[i][j][e]);
        chains[i][j][e] = 0;
      });
    }
    if (next < depth) store(stage ^ 1);
    __syncthreads();
  }
  WriteTotals<Tile>(a, b, out, row, column, totals);
}

template <class Tile, class A, class B, class Out>
void LaunchTiles(Session& session, const A& a, const B& b, const Out& out, int64_t depth) {
  const int64_t across = CeilDivide(b.rows, Tile::kRowsB);
  if (across > 65535) throw Error(Code::kUnsupported, "too many rows for one launch");
  Launch(session, ProductKernel<A, B, Out, Tile>,
         {.blocks_x = BlockCount(CeilDivide(a.rows, Tile::kRowsA)),
          .blocks_y = static_cast<unsigned>(across),
          .threads = Tile::kThreads,
          .shared_bytes = 2 * kStageSlots<A, B, Tile> * sizeof(uint4)},
         a, b, out, depth);
}

template <class A, class B, class Out>
void LaunchProduct(Session& session, const A& a, const B& b, const Out& out, int64_t depth) {
  // Large tiles read less; with too few of them multiprocessors would have nothing to do.
  const int64_t large =
      CeilDivide(a.rows, LargeTile::kRowsA) * CeilDivide(b.rows, LargeTile::kRowsB);
  if (large >= session.multiprocessors()) {
    LaunchTiles<LargeTile>(session, a, b, out, depth);
  } else {
    LaunchTiles<SmallTile>(session, a, b, out, depth);
  }
}

// Few rows of b, whose time is that of reading a: a block for 16 rows of a, whose warps take the
// chains in turn, straight from memory; then their sums are added in order.
constexpr int kFewWarps = 8;
// Chains whose sums are in shared memory at once, 64 KiB.
template <int kTiles>
constexpr int64_t kFewChains = 128 / kTiles;

template <class A, class B, int kTiles>
__device__ __forceinline__ void MultiplyChain(const A& a, const B& b, int64_t row, int64_t begin,
                                              int64_t end, float (&chains)[kTiles][4]) {
  const int g = LaneGroup();
  const int t = LaneInGroup();
  constexpr int kSteps = kChain / kStep;
  typename A::Raw raw[kSteps][2];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t input = begin + step * kStep + t * kLaneInputs;
    raw[step][0] = raw[step][1] = {};
    if (begin + step * kStep >= end) continue;
    raw[step][0] = a.Load(row + g, input);
    raw[step][1] = a.Load(row + g + 8, input);
  }
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    if (begin + step * kStep >= end) break;
    const int64_t input = begin + step * kStep + t * kLaneInputs;
    uint4 left[2][A::kParts];
    a.Split(raw[step][0], left[0]);
    a.Split(raw[step][1], left[1]);
    uint4 right[kTiles][B::kParts];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) b.Split(b.Load(tile * 8 + g, input), right[tile]);
    MultiplyStep<A::kParts - 1>(
        [&](int part, uint4& low, uint4& high) {
          low = left[0][part];
          high = left[1][part];
        },
        right, chains);
  }
}

// By all threads of a block: rows `row` to `row` + 15 of a with all of b. `sums` is shared memory,
// [chain][column][16 rows].
template <int kTiles, class A, class B, class Out>
__device__ __forceinline__ void MultiplyFewRows(const A& a, const B& b, const Out& out,
                                                int64_t depth, int64_t row, float* sums) {
  constexpr int kSums = kTiles * 8 * 16;
  constexpr int kThreads = kFewWarps * kWarpSize;
  constexpr int kMine = (kSums + kThreads - 1) / kThreads;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int g = LaneGroup();
  const int t = LaneInGroup();
  const int64_t length = a.ChainLength();
  const int64_t chain_count = (depth + length - 1) / length;
  float totals[kMine] = {};
  for (int64_t first = 0; first < chain_count; first += kFewChains<kTiles>) {
    const int64_t last = Smaller(first + kFewChains<kTiles>, chain_count);
    for (int64_t chain = first + warp; chain < last; chain += kFewWarps) {
      float chains[kTiles][4] = {};
      const int64_t end = Smaller((chain + 1) * length, depth);
      MultiplyChain(a, b, row, chain * length, end, chains);
      float* to = sums + (chain - first) * kSums;
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          to[(tile * 8 + 2 * t + e % 2) * 16 + g + e / 2 * 8] = chains[tile][e];
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      const int at = static_cast<int>(threadIdx.x) + i * kThreads;
      if (at >= kSums || row + at % 16 >= a.rows) continue;
      for (int64_t chain = first; chain < last; ++chain) {
        const int64_t end = Smaller((chain + 1) * length, depth);
        totals[i] = AddChain(a, row + at % 16, end, totals[i], sums[(chain - first) * kSums + at]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kMine; ++i) {
    const int at = static_cast<int>(threadIdx.x) + i * kThreads;
    if (at >= kSums || row + at % 16 >= a.rows || at / 16 >= b.rows) continue;
    const bool is_plain = IsFinite(totals[i]);
    out.Write(row + at % 16, at / 16,
              is_plain ? totals[i] : PlainProduct(a, b, row + at % 16, at / 16));
  }
}

template <class A, class B, class Out, int kTiles>
__global__ void __launch_bounds__(kFewWarps* kWarpSize)
    FewRowsKernel(A a, B b, Out out, int64_t depth) {
  DYNAMIC_SHARED(float, sums);
  MultiplyFewRows<kTiles>(a, b, out, depth, int64_t{blockIdx.x} * 16, sums);
}

// Bytes of `sums` for chains of so many inputs.
template <int kTiles>
size_t FewRowsSharedBytes(int64_t depth, int64_t chain_length) {
  const int64_t held = Smaller(CeilDivide(depth, chain_length), kFewChains<kTiles>);
  return static_cast<size_t>(held) * kTiles * 8 * 16 * sizeof(float);
}

constexpr int64_t kFewRows = 32;

template <int kTiles, class A, class B, class Out>
void LaunchFewTiles(Session& session, const A& a, const B& b, const Out& out, int64_t depth) {
  Launch(session, FewRowsKernel<A, B, Out, kTiles>,
         {.blocks_x = BlockCount(CeilDivide(a.rows, 16)),
          .threads = kFewWarps * kWarpSize,
          .shared_bytes = FewRowsSharedBytes<kTiles>(depth, a.ChainLength())},
         a, b, out, depth);
}

template <class A, class B, class Out>
void LaunchFewRows(Session& session, const A& a, const B& b, const Out& out, int64_t depth) {
  if (b.rows == 0) return;
  if (b.rows <= 8) return LaunchFewTiles<1>(session, a, b, out, depth);
  if (b.rows <= 16) return LaunchFewTiles<2>(session, a, b, out, depth);
  LaunchFewTiles<4>(session, a, b, out, depth);
}

}  // namespace kernels::cuda
