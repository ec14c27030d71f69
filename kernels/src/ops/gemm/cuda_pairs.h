#pragma once

#include "cuda/async_copy.h"
#include "cuda/launch.h"
#include "cuda/tensor_core.h"

// Products of bf16 on tensor cores, for operations on a GPU. Operands are pairs of bf16 along the
// depth, the earlier in the lower half, as in GemmBf16Pairs: what a tensor core takes as a word.
//
// Products are exact. A tensor core cuts off what does not fit where it adds sixteen of them to its
// sum (Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer
// Science 7:e330): about 2^-23 of the largest at most, half of that on average. It matters most
// where all products have one sign: the sum grows, so that a depth of d loses
// (d / 32) · 2^-24 of it. For the 2048 that one launch should have at most that is 64 · 2^-24, a
// third of what random roundings may give (4 · 2^-24 · sqrt(d), dotTolerance in
// test/support/tolerance.ts).
namespace kernels::cuda {

// A side of a product, padded with zeros.
struct PairMatrix {
  static constexpr int64_t kColumns = 256;  // columns come in
  static constexpr int64_t kPairs = 16;     // pairs of rows come in
  uint32_t* data;
  int64_t stride;  // columns, padded
  __device__ const uint32_t* Row(int64_t pair) const { return data + pair * stride; }
};

// c += a^T b.
struct PairProduct {
  int64_t rows, columns;
  int64_t pairs;  // padded
  PairMatrix a;   // [pairs, rows]
  PairMatrix b;   // [pairs, columns]
  Matrix<float> c;
  bool upper_only;  // elements below the diagonal keep their values
};

constexpr int kPairThreads = 256;
constexpr int kPairStages = 3;

// A block's tile of c, of which a warp has 64 x kWarpColumns.
template <int kRowsOfTile, int kColumnsOfTile, int kColumnsOfWarp>
struct PairTile {
  static constexpr int kRows = kRowsOfTile;
  static constexpr int kColumns = kColumnsOfTile;
  static constexpr int kWarpColumns = kColumnsOfWarp;
  static_assert(kRows / 64 * (kColumns / kWarpColumns) * kWarpSize == kPairThreads);
  static constexpr int kDown = 4;                   // products of 16 rows
  static constexpr int kAcross = kWarpColumns / 8;  // and of 8 columns
  // Eight words beyond a multiple of 32: the lanes of a fragment find different banks.
  struct Stage {
    uint32_t a[PairMatrix::kPairs][kRows + 8];
    uint32_t b[PairMatrix::kPairs][kColumns + 8];
  };
};
using LargePairTile = PairTile<256, 128, 64>;
using SmallPairTile = PairTile<128, 128, 32>;

// Starts to bring `extent` columns of the slice's pairs.
template <int kExtent>
__device__ void BringPairs(const PairMatrix& from, int64_t pair, int64_t column,
                           uint32_t (&to)[PairMatrix::kPairs][kExtent + 8]) {
  constexpr int kChunks = kExtent / 4;
#pragma unroll
  for (int i = 0; i < PairMatrix::kPairs * kChunks; i += kPairThreads) {
    const int at = i + static_cast<int>(threadIdx.x);
    const int chunk = at % kChunks * 4;
    CopyAsync16(&to[at / kChunks][chunk], from.Row(pair + at / kChunks) + column + chunk);
  }
}

template <class Tile>
class PairSums {
 public:
  __device__ PairSums() : sums_{} {}

  __device__ void Multiply(const typename Tile::Stage& stage) {
    const int g = Lane() / 4;
    const int t = Lane() % 4;
#pragma unroll
    for (int step = 0; step < PairMatrix::kPairs; step += 8) {
      uint32_t b[Tile::kAcross][2];
#pragma unroll
      for (int j = 0; j < Tile::kAcross; ++j) {
        b[j][0] = stage.b[step + t][Column() + j * 8 + g];
        b[j][1] = stage.b[step + t + 4][Column() + j * 8 + g];
      }
#pragma unroll
      for (int i = 0; i < Tile::kDown; ++i) {
        const int row = Row() + i * 16 + g;
        const uint32_t a[4] = {stage.a[step + t][row], stage.a[step + t][row + 8],
                               stage.a[step + t + 4][row], stage.a[step + t + 4][row + 8]};
#pragma unroll
        for (int j = 0; j < Tile::kAcross; ++j) MmaBf16(sums_[i][j], a, b[j]);
      }
    }
  }

  // Adds them to c.
  __device__ void Fold(const PairProduct& p, int64_t tile_row, int64_t tile_column) const {
    const int64_t row = tile_row + Row() + Lane() / 4;
    const int64_t column = tile_column + Column() + Lane() % 4 * 2;
#pragma unroll
    for (int i = 0; i < Tile::kDown * 2; ++i) {
      const int64_t at = row + i * 8;
      if (at >= p.rows) return;
      float* to = p.c.Row(at) + column;
      const int64_t first = p.upper_only ? at - column : -Tile::kColumns;
      const int64_t left = p.columns - column;
#pragma unroll
      for (int j = 0; j < Tile::kAcross; ++j) {
        const float* two = &sums_[i / 2][j][i % 2 * 2];
        if (j * 8 >= first && j * 8 < left) to[j * 8] += two[0];
        if (j * 8 + 1 >= first && j * 8 + 1 < left) to[j * 8 + 1] += two[1];
      }
    }
  }

 private:
  static constexpr int kWarpsAcross = Tile::kColumns / Tile::kWarpColumns;

  __device__ static int Lane() { return static_cast<int>(threadIdx.x) % kWarpSize; }
  __device__ static int Row() {
    return static_cast<int>(threadIdx.x) / kWarpSize / kWarpsAcross * 64;
  }
  __device__ static int Column() {
    return static_cast<int>(threadIdx.x) / kWarpSize % kWarpsAcross * Tile::kWarpColumns;
  }

  float sums_[Tile::kDown][Tile::kAcross][4];
};

// Tiles in bands of kBand rows of them, down before across: blocks that run at the same time share
// what they read.
struct TilePosition {
  int64_t row, column;
};
__device__ inline TilePosition PositionOf(int64_t index, int64_t down, int64_t across) {
  constexpr int64_t kBand = 8;
  const int64_t band = index / (kBand * across) * kBand;
  const int64_t height = down - band < kBand ? down - band : kBand;
  const int64_t inside = index % (kBand * across);
  return {band + inside % height, inside / height};
}

template <class Tile>
__global__ void __launch_bounds__(kPairThreads) PairKernel(PairProduct p) {
  DYNAMIC_SHARED(typename Tile::Stage, stages);
  const TilePosition tile = PositionOf(blockIdx.x, CeilDivide(p.rows, Tile::kRows),
                                       CeilDivide(p.columns, Tile::kColumns));
  const int64_t row = tile.row * Tile::kRows;
  const int64_t column = tile.column * Tile::kColumns;
  if (p.upper_only && column + Tile::kColumns <= row) return;
  const int slices = static_cast<int>(p.pairs / PairMatrix::kPairs);
  // A group for each slice, empty beyond the last.
  const auto bring = [&](int slice) {
    const int64_t pair = int64_t{slice} * PairMatrix::kPairs;
    if (slice < slices) {
      typename Tile::Stage& stage = stages[slice % kPairStages];
      BringPairs<Tile::kRows>(p.a, pair, row, stage.a);
      BringPairs<Tile::kColumns>(p.b, pair, column, stage.b);
    }
    CommitCopies();
  };
  PairSums<Tile> sums;
  for (int slice = 0; slice < kPairStages - 1; ++slice) bring(slice);
  for (int slice = 0; slice < slices; ++slice) {
    WaitCopies<kPairStages - 2>();
    // This slice has landed for every thread, and all are done with the one before, whose stage is
    // filled next.
    __syncthreads();
    bring(slice + kPairStages - 1);
    sums.Multiply(stages[slice % kPairStages]);
  }
  sums.Fold(p, row, column);
}

template <class Tile>
int64_t PairTiles(const PairProduct& p) {
  return CeilDivide(p.rows, Tile::kRows) * CeilDivide(p.columns, Tile::kColumns);
}

template <class Tile>
void LaunchPairs(Session& session, const PairProduct& p) {
  Launch(session, PairKernel<Tile>,
         {.blocks_x = BlockCount(PairTiles<Tile>(p)),
          .threads = kPairThreads,
          .shared_bytes = kPairStages * sizeof(typename Tile::Stage)},
         p);
}

inline void MultiplyPairs(Session& session, const PairProduct& product) {
  // Large tiles read less, small ones keep more of the GPU busy.
  const int64_t blocks = PairTiles<LargePairTile>(product) / (product.upper_only ? 2 : 1);
  if (blocks >= 2 * int64_t{session.multiprocessors()}) {
    LaunchPairs<LargePairTile>(session, product);
  } else {
    LaunchPairs<SmallPairTile>(session, product);
  }
}

}  // namespace kernels::cuda
