#pragma once

#include <algorithm>

#include "ops/gemm/operands.h"

// Kernels of products of two operands (operands.h): total[i, j] = sum over inputs of a[i, .] b[j,
// .], given to out.Write(i, j, total). An element is the same sequence of operations in both
// kernels and wherever it lies, so rows do not depend on one another.
namespace kernels::cuda {

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

// What a chain of a row that ends before input `end` is multiplied with.
template <class A>
__device__ __forceinline__ float ChainScale(const A& a, int64_t row, int64_t end) {
  if constexpr (A::kIsScaled) {
    return a.Scale(row, end - 1);
  } else {
    return 1;
  }
}
template <class A>
__device__ __forceinline__ float AddChain(float total, float chain, float scale) {
  if constexpr (A::kIsScaled) {
    return __fmaf_rn(scale, chain, total);
  } else {
    return total + chain;
  }
}

// Tiles of kWarpsA * kRowTiles * 16 rows of a by kWarpsB * kColumnTiles * 8 of b for a block.
template <int warps_a, int warps_b, int row_tiles, int blocks>
struct BlockTile {
  static constexpr int kBlocks = blocks;  // on a multiprocessor
  static constexpr int kWarpsA = warps_a, kWarpsB = warps_b, kRowTiles = row_tiles;
  static constexpr int kColumnTiles = 4;
  static constexpr int kThreads = kWarpsA * kWarpsB * kWarpSize;
  static constexpr int kRowsA = kWarpsA * kRowTiles * 16;
  static constexpr int kRowsB = kWarpsB * kColumnTiles * 8;
  static constexpr int kTotals = kRowTiles * kColumnTiles * kThreads;  // of float4

  // Of the block's tile, where a thread's first sum is.
  static __device__ int RowOfThread() {
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
    return warp % kWarpsA * kRowTiles * 16 + PlaceOfLane().g;
  }
  static __device__ int ColumnOfThread() {
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
    return warp / kWarpsA * kColumnTiles * 8 + 2 * PlaceOfLane().t;
  }
};
using SmallTile = BlockTile<2, 2, 2, 3>;  // 64 x 64
using LargeTile = BlockTile<2, 4, 4, 1>;  // 128 x 128

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

  __device__ __forceinline__ void Store(const Operand& operand, int64_t row, int64_t input,
                                        uint4* tile) const {
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
      uint4 parts[Operand::kParts];
      operand.Split(raw[unit], row + Row(unit), input + Quarter(unit) * kLaneInputs, parts);
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
  const int g = PlaceOfLane().g;
  const int t = PlaceOfLane().t;
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

// The totals of a thread: in shared memory, for registers have the chains. Of row tile i and column
// tile j those of a chain's four sums are at [(i * kColumnTiles + j) * kThreads + thread].
template <class Tile, class A>
__device__ __forceinline__ void AddChains(const A& a, int64_t row, int64_t end, bool is_first,
                                          float (&chains)[Tile::kRowTiles][Tile::kColumnTiles][4],
                                          float4* totals) {
#pragma unroll
  for (int i = 0; i < Tile::kRowTiles; ++i) {
    const float scale = ChainScale(a, row + i * 16, end);
    const float scale_below = ChainScale(a, row + i * 16 + 8, end);
#pragma unroll
    for (int j = 0; j < Tile::kColumnTiles; ++j) {
      float4& to = totals[(i * Tile::kColumnTiles + j) * Tile::kThreads + threadIdx.x];
      float (&chain)[4] = chains[i][j];
      const float4 total = is_first ? float4{0, 0, 0, 0} : to;
      to = {AddChain<A>(total.x, chain[0], scale), AddChain<A>(total.y, chain[1], scale),
            AddChain<A>(total.z, chain[2], scale_below),
            AddChain<A>(total.w, chain[3], scale_below)};
#pragma unroll
      for (int e = 0; e < 4; ++e) chain[e] = 0;
    }
  }
}

// Gives a thread's totals to `out`; zeros where there are none.
template <class Tile, class A, class B, class Out>
__device__ __forceinline__ void WriteTotals(const A& a, const B& b, const Out& out, int64_t row,
                                            int64_t column, const float4* totals) {
#pragma unroll 1
  for (int at = 0; at < Tile::kRowTiles * Tile::kColumnTiles; ++at) {
    const float4 total = totals[at * Tile::kThreads + threadIdx.x];
    const float sums[4] = {total.x, total.y, total.z, total.w};
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t i = row + at / Tile::kColumnTiles * 16 + e / 2 * 8;
      const int64_t j = column + at % Tile::kColumnTiles * 8 + e % 2;
      if (i >= a.rows || j >= b.rows) continue;
      const float sum = a.depth == 0 ? 0.0f : sums[e];
      out.Write(i, j, IsFinite(sum) ? sum : PlainProduct(a, b, i, j));
    }
  }
}

// Many rows on both sides: a block for each tile; the next step's operands are read from memory
// while this one's are multiplied from shared memory.
template <class A, class B, class Out, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    ProductKernel(A a, B b, Out out, int64_t depth) {
  DYNAMIC_SHARED(uint4, shared);
  const int64_t row = int64_t{blockIdx.x} * Tile::kRowsA;
  const int64_t column = int64_t{blockIdx.y} * Tile::kRowsB;
  constexpr int kSlots = kStageSlots<A, B, Tile>;
  float4* totals = reinterpret_cast<float4*>(shared + 2 * kSlots);
  Stager<A, Tile::kRowsA, Tile::kThreads> stager_a;
  Stager<B, Tile::kRowsB, Tile::kThreads> stager_b;
  const auto load = [&](int64_t input) {
    stager_a.Load(a, row, input);
    stager_b.Load(b, column, input);
  };
  const auto store = [&](int stage, int64_t input) {
    stager_a.Store(a, row, input, shared + stage * kSlots);
    stager_b.Store(b, column, input, shared + stage * kSlots + 4 * Tile::kRowsA * A::kParts);
  };
  float chains[Tile::kRowTiles][Tile::kColumnTiles][4] = {};
  const int64_t length = a.ChainLength();
  int64_t chain_end = length;
  load(0);
  store(0, 0);
  __syncthreads();
  int stage = 0;
  for (int64_t input = 0; input < depth; input += kStep, stage ^= 1) {
    const int64_t next = input + kStep;
    if (next < depth) load(next);
    MultiplyStage<A, B, Tile>(shared + stage * kSlots, chains);
    if (next >= depth || next == chain_end) {
      AddChains<Tile>(a, row + Tile::RowOfThread(), std::min<int64_t>(next, depth),
                      chain_end == length, chains, totals);
      chain_end += length;
    }
    if (next < depth) store(stage ^ 1, next);
    __syncthreads();
  }
  WriteTotals<Tile>(a, b, out, row + Tile::RowOfThread(), column + Tile::ColumnOfThread(), totals);
}

template <class Tile, class A, class B, class Out>
void LaunchTiles(Session& session, const A& a, const B& b, const Out& out, int64_t depth) {
  const int64_t across = CeilDivide(b.rows, Tile::kRowsB);
  if (across > 65535) throw Error(Code::kUnsupported, "too many rows for one launch");
  Launch(session, ProductKernel<A, B, Out, Tile>,
         {.blocks_x = BlockCount(CeilDivide(a.rows, Tile::kRowsA)),
          .blocks_y = static_cast<unsigned>(across),
          .threads = Tile::kThreads,
          .shared_bytes = (2 * kStageSlots<A, B, Tile> + Tile::kTotals) * sizeof(uint4)},
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

// Few rows of b, whose time is that of reading a: a block for 16 or 32 rows of a, whose warps take
// the chains in turn, straight from memory; then their sums are added in order.
template <int row_tiles, int column_tiles>
struct FewTile {
  static constexpr int kRowTiles = row_tiles, kColumnTiles = column_tiles;
  static constexpr int kRowsA = kRowTiles * 16;
  static constexpr int kSums = kRowsA * kColumnTiles * 8;
  static constexpr int kWarps = 8;
  static constexpr int kThreads = kWarps * kWarpSize;
  static constexpr int kBlocks = kColumnTiles == 1 ? 2 : 1;
  // Steps whose part of a is read before the first of them is multiplied; half of them for f32.
  static constexpr int kStepsAhead = kChain / kStep / kRowTiles;
  // Chains whose sums are in shared memory at once, 64 KiB.
  static constexpr int64_t kHeldChains = (64 << 10) / (kSums * sizeof(float));
};
constexpr int64_t kFewRows = 32;

// One step by one warp, of which this lane has rows `row`, `row` + 8 ... of a in registers.
template <class Tile, class A, class B>
__device__ __forceinline__ void MultiplyFew(
    const A& a, const B& b, int64_t row, int64_t input,
    const typename A::Raw (&raw)[Tile::kRowTiles * 2],
    float (&chains)[Tile::kRowTiles][Tile::kColumnTiles][4]) {
  uint4 right[Tile::kColumnTiles][B::kParts];
#pragma unroll
  for (int j = 0; j < Tile::kColumnTiles; ++j) {
    const int64_t column = j * 8 + PlaceOfLane().g;
    b.Split(b.Load(column, input), column, input, right[j]);
  }
#pragma unroll
  for (int i = 0; i < Tile::kRowTiles; ++i) {
    uint4 left[2][A::kParts];
    a.Split(raw[2 * i], row + i * 16, input, left[0]);
    a.Split(raw[2 * i + 1], row + i * 16 + 8, input, left[1]);
    MultiplyStep<A::kParts - 1>(
        [&](int part, uint4& low, uint4& high) {
          low = left[0][part];
          high = left[1][part];
        },
        right, chains[i]);
  }
}

template <class Tile, class A, class B>
__device__ __forceinline__ void MultiplyChain(
    const A& a, const B& b, int64_t row, int64_t begin, int64_t end,
    float (&chains)[Tile::kRowTiles][Tile::kColumnTiles][4]) {
  const int g = PlaceOfLane().g;
  constexpr int kAhead = sizeof(typename A::Raw) > 16 ? Tile::kStepsAhead / 2 : Tile::kStepsAhead;
#pragma unroll
  for (int first = 0; first < kChain / kStep; first += kAhead) {
    typename A::Raw raw[kAhead][Tile::kRowTiles * 2];
#pragma unroll
    for (int step = 0; step < kAhead; ++step) {
      const int64_t input = begin + (first + step) * kStep;
#pragma unroll
      for (int i = 0; i < Tile::kRowTiles * 2; ++i) {
        raw[step][i] = {};
        if (input >= end) continue;
        raw[step][i] = a.Load(row + g + i * 8, input + PlaceOfLane().t * kLaneInputs);
      }
    }
#pragma unroll
    for (int step = 0; step < kAhead; ++step) {
      const int64_t input = begin + (first + step) * kStep;
      if (input >= end) return;
      MultiplyFew<Tile>(a, b, row + g, input + PlaceOfLane().t * kLaneInputs, raw[step], chains);
    }
  }
}

// By all threads of a block: the tile of rows of a from `row` on with all of b. `sums` is shared
// memory, [chain][column][row].
template <class Tile, class A, class B, class Out>
__device__ __forceinline__ void MultiplyFewRows(const A& a, const B& b, const Out& out,
                                                int64_t depth, int64_t row, float* sums) {
  constexpr int kMine = (Tile::kSums + Tile::kThreads - 1) / Tile::kThreads;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int64_t length = a.ChainLength();
  const int64_t chain_count = CeilDivide(depth, length);
  float totals[kMine] = {};
  for (int64_t first = 0; first < chain_count; first += Tile::kHeldChains) {
    const int64_t last = std::min<int64_t>(first + Tile::kHeldChains, chain_count);
    for (int64_t chain = first + warp; chain < last; chain += Tile::kWarps) {
      float chains[Tile::kRowTiles][Tile::kColumnTiles][4] = {};
      MultiplyChain<Tile>(a, b, row, chain * length, std::min<int64_t>((chain + 1) * length, depth),
                          chains);
      float* to = sums + (chain - first) * Tile::kSums + 2 * PlaceOfLane().t * Tile::kRowsA +
                  PlaceOfLane().g;
#pragma unroll
      for (int i = 0; i < Tile::kRowTiles; ++i) {
#pragma unroll
        for (int j = 0; j < Tile::kColumnTiles; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e)
            to[(j * 8 + e % 2) * Tile::kRowsA + i * 16 + e / 2 * 8] = chains[i][j][e];
        }
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      const int at = static_cast<int>(threadIdx.x) + i * Tile::kThreads;
      const int64_t of = row + at % Tile::kRowsA;
      if (at >= Tile::kSums || of >= a.rows || at / Tile::kRowsA >= b.rows) continue;
      for (int64_t chain = first; chain < last; ++chain) {
        const int64_t end = std::min<int64_t>((chain + 1) * length, depth);
        totals[i] = AddChain<A>(totals[i], sums[(chain - first) * Tile::kSums + at],
                                ChainScale(a, of, end));
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kMine; ++i) {
    const int at = static_cast<int>(threadIdx.x) + i * Tile::kThreads;
    const int64_t of = row + at % Tile::kRowsA;
    const int64_t column = at / Tile::kRowsA;
    if (at >= Tile::kSums || of >= a.rows || column >= b.rows) continue;
    out.Write(of, column, IsFinite(totals[i]) ? totals[i] : PlainProduct(a, b, of, column));
  }
}

template <class A, class B, class Out, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    FewRowsKernel(A a, B b, Out out, int64_t depth) {
  DYNAMIC_SHARED(float, sums);
  MultiplyFewRows<Tile>(a, b, out, depth, int64_t{blockIdx.x} * Tile::kRowsA, sums);
}

// Bytes of `sums` for chains of so many inputs.
template <class Tile>
size_t FewRowsSharedBytes(int64_t depth, int64_t chain_length) {
  const int64_t held = std::min<int64_t>(CeilDivide(depth, chain_length), Tile::kHeldChains);
  return static_cast<size_t>(held) * Tile::kSums * sizeof(float);
}

template <class Tile, class A, class B, class Out>
void LaunchFewTiles(Session& session, const A& a, const B& b, const Out& out, int64_t depth) {
  Launch(session, FewRowsKernel<A, B, Out, Tile>,
         {.blocks_x = BlockCount(CeilDivide(a.rows, Tile::kRowsA)),
          .threads = Tile::kThreads,
          .shared_bytes = FewRowsSharedBytes<Tile>(depth, a.ChainLength())},
         a, b, out, depth);
}

template <class A, class B, class Out>
void LaunchFewRows(Session& session, const A& a, const B& b, const Out& out, int64_t depth) {
  if (b.rows == 0) return;
  if (b.rows > 16) return LaunchFewTiles<FewTile<2, 4>>(session, a, b, out, depth);
  if (b.rows > 8) return LaunchFewTiles<FewTile<2, 2>>(session, a, b, out, depth);
  if constexpr (A::kParts < 3) {
    // b is taken apart once for 32 rows of a, unless that leaves multiprocessors with nothing to
    // do.
    if (CeilDivide(a.rows, 32) * 8 >= session.multiprocessors() * 7) {
      return LaunchFewTiles<FewTile<2, 1>>(session, a, b, out, depth);
    }
  }
  LaunchFewTiles<FewTile<1, 1>>(session, a, b, out, depth);
}

// The product of a weight, a, with any number of rows, b.
template <class A, class B, class Out>
void Multiply(Session& session, const A& a, const B& b, const Out& out) {
  if (b.rows <= kFewRows) {
    LaunchFewRows(session, a, b, out, b.depth);
  } else {
    LaunchProduct(session, a, b, out, b.depth);
  }
}

}  // namespace kernels::cuda
