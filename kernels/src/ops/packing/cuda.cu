#include "cuda/numbers.h"
#include "ops/packing/cuda_tile.h"
#include "ops/packing/packing.h"

// Packing and transposing go through tiles in shared memory, so that both sides are walked along
// their rows.
namespace kernels::cuda {

namespace {

template <int kBits>
__global__ void PackWeightKernel(Matrix<const uint8_t> codes, bool aligned, TileGrid grid,
                                 Matrix<int32_t> qweight) {
  constexpr int kCodes = UnitCodes(kBits);
  constexpr int kWords = UnitWords(kBits);
  SHARED(CodeTile, tile);
  const TilePlace place = grid.Here();
  LoadCodes(place, codes, aligned, tile);
  __syncthreads();
  ForUnits<kBits>(place, [&](int row, int unit, int64_t weight_unit, int64_t output) {
    const uint32_t* quads = tile[row] + unit * (kCodes / 4);
    uint32_t words[kWords];
    PackUnit<kBits>(words, [&](int j) { return quads[j / 4] >> (j % 4 * 8); });
    for (int w = 0; w < kWords; ++w) {
      qweight.Row(weight_unit * kWords + w)[output] = static_cast<int32_t>(words[w]);
    }
  });
}

template <int kBits>
__global__ void UnpackWeightKernel(Matrix<const int32_t> qweight, TileGrid grid, bool aligned,
                                   Matrix<uint8_t> codes) {
  SHARED(CodeTile, tile);
  const TilePlace place = grid.Here();
  UnpackTile<kBits>(place, qweight, tile);
  __syncthreads();
  StoreCodes(place, tile, aligned, codes);
}

// Tiles of zeros: 32 groups by 128 outputs, a byte to a zero.
constexpr int kTileGroups = 32;
constexpr int kTileZeros = 128;
using ZeroTile = uint8_t[kTileGroups][kTileZeros + 4];

struct ZeroGrid {
  int64_t across;  // tiles along the outputs
  int64_t groups, outputs;

  __device__ int64_t FirstGroup() const { return int64_t{blockIdx.x} / across * kTileGroups; }
  __device__ int64_t FirstOutput() const { return int64_t{blockIdx.x} % across * kTileZeros; }

  // f(group of the tile, output of the tile, group, output); neighbours in the group first.
  template <class F>
  __device__ void ForZeros(F f) const {
    for (int i = static_cast<int>(threadIdx.x); i < kTileGroups * kTileZeros;
         i += kPackingThreads) {
      const int64_t group = FirstGroup() + i % kTileGroups;
      const int64_t output = FirstOutput() + i / kTileGroups;
      if (group < groups && output < outputs) f(i % kTileGroups, i / kTileGroups, group, output);
    }
  }

  // f(group of the tile, first output of the tile, group, first word); neighbours in the unit.
  template <int kBits, class F>
  __device__ void ForZeroUnits(F f) const {
    constexpr int kCodes = UnitCodes(kBits);
    constexpr int kUnits = kTileZeros / kCodes;
    for (int i = static_cast<int>(threadIdx.x); i < kTileGroups * kUnits; i += kPackingThreads) {
      const int64_t group = FirstGroup() + i / kUnits;
      const int first = i % kUnits * kCodes;
      if (group >= groups || FirstOutput() + first >= outputs) continue;
      f(i / kUnits, first, group, (FirstOutput() + first) / kCodes * UnitWords(kBits));
    }
  }
};

ZeroGrid ZeroGridOf(int64_t groups, int64_t outputs) {
  return {CeilDivide(outputs, kTileZeros), groups, outputs};
}
Shape ShapeOf(const ZeroGrid& grid) {
  return {.blocks_x = BlockCount(grid.across * CeilDivide(grid.groups, kTileGroups)),
          .threads = kPackingThreads};
}

template <int kBits>
__global__ void PackZerosKernel(Matrix<const int32_t> zeros, uint32_t offset, ZeroGrid grid,
                                Matrix<int32_t> qzeros) {
  constexpr int kWords = UnitWords(kBits);
  SHARED(ZeroTile, tile);
  grid.ForZeros([&](int g, int o, int64_t group, int64_t output) {
    tile[g][o] = static_cast<uint8_t>(static_cast<uint32_t>(zeros.Row(output)[group]) - offset);
  });
  __syncthreads();
  grid.ForZeroUnits<kBits>([&](int g, int first, int64_t group, int64_t first_word) {
    uint32_t words[kWords];
    PackUnit<kBits>(words, [&](int j) { return uint32_t{tile[g][first + j]}; });
    for (int w = 0; w < kWords; ++w) {
      qzeros.Row(group)[first_word + w] = static_cast<int32_t>(words[w]);
    }
  });
}

template <int kBits>
__global__ void UnpackZerosKernel(Matrix<const int32_t> qzeros, uint32_t offset, ZeroGrid grid,
                                  Matrix<int32_t> zeros) {
  constexpr uint32_t kMask = (1u << kBits) - 1;
  SHARED(ZeroTile, tile);
  grid.ForZeroUnits<kBits>([&](int g, int first, int64_t group, int64_t first_word) {
    UnpackUnit<kBits>(qzeros.Row(group) + first_word, 1, [&](int j, uint32_t stored) {
      tile[g][first + j] = static_cast<uint8_t>((stored + offset) & kMask);
    });
  });
  __syncthreads();
  grid.ForZeros(
      [&](int g, int o, int64_t group, int64_t output) { zeros.Row(output)[group] = tile[g][o]; });
}

constexpr int kSquare = 32;
using SquareTile = float[kSquare][kSquare + 1];

template <class From, class To>
__global__ void TransposeKernel(Matrix<const From> x, int64_t rows, int64_t columns, To* y) {
  SHARED(SquareTile, tile);
  const int64_t across = CeilDivide(columns, kSquare);
  const int64_t row = int64_t{blockIdx.x} / across * kSquare;
  const int64_t column = int64_t{blockIdx.x} % across * kSquare;
  const int lane = static_cast<int>(threadIdx.x) % kSquare;
  const int first = static_cast<int>(threadIdx.x) / kSquare;
  for (int i = first; i < kSquare; i += kPackingThreads / kSquare) {
    if (row + i < rows && column + lane < columns) {
      tile[i][lane] = ToFloat(x.Row(row + i)[column + lane]);
    }
  }
  __syncthreads();
  for (int i = first; i < kSquare; i += kPackingThreads / kSquare) {
    if (column + i < columns && row + lane < rows) {
      y[(column + i) * rows + row + lane] = Narrow<To>(tile[lane][i]);
    }
  }
}

void RunPackWeight(Session& session, const PackWeightArgs& args) {
  WithBits(args.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    const TileGrid grid = GridOf(args.codes.shape[0], args.codes.shape[1]);
    Launch(session, PackWeightKernel<kBits>, ShapeOf(grid), MatrixOf<const uint8_t>(args.codes),
           RowsAreAligned(args.codes), grid, MatrixOf<int32_t>(args.qweight));
  });
}

void RunUnpackWeight(Session& session, const UnpackWeightArgs& args) {
  WithBits(args.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    const TileGrid grid = GridOf(args.codes.shape[0], args.codes.shape[1]);
    Launch(session, UnpackWeightKernel<kBits>, ShapeOf(grid), MatrixOf<const int32_t>(args.qweight),
           grid, RowsAreAligned(args.codes), MatrixOf<uint8_t>(args.codes));
  });
}

void RunPackZeros(Session& session, const PackZerosArgs& args) {
  WithBits(args.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    const ZeroGrid grid = ZeroGridOf(args.zeros.shape[1], args.zeros.shape[0]);
    Launch(session, PackZerosKernel<kBits>, ShapeOf(grid), MatrixOf<const int32_t>(args.zeros),
           static_cast<uint32_t>(args.zero_offset), grid, MatrixOf<int32_t>(args.qzeros));
  });
}

void RunUnpackZeros(Session& session, const UnpackZerosArgs& args) {
  WithBits(args.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    const ZeroGrid grid = ZeroGridOf(args.zeros.shape[1], args.zeros.shape[0]);
    Launch(session, UnpackZerosKernel<kBits>, ShapeOf(grid), MatrixOf<const int32_t>(args.qzeros),
           static_cast<uint32_t>(args.zero_offset), grid, MatrixOf<int32_t>(args.zeros));
  });
}

void RunTranspose(Session& session, const TransposeArgs& args) {
  const int64_t rows = args.x.shape[0];
  const int64_t columns = args.x.shape[1];
  const Shape shape{
      .blocks_x = BlockCount(CeilDivide(rows, kSquare) * CeilDivide(columns, kSquare)),
      .threads = kPackingThreads};
  WithFloatType(args.x.dtype, [&](auto from) {
    WithFloatType(args.y.dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      Launch(session, TransposeKernel<From, To>, shape, MatrixOf<const From>(args.x), rows, columns,
             args.y.As<To>());
    });
  });
}

const Operation<PackWeightArgs, RunPackWeight> pack_weight("packWeight");
const Operation<UnpackWeightArgs, RunUnpackWeight> unpack_weight("unpackWeight");
const Operation<PackZerosArgs, RunPackZeros> pack_zeros("packZeros");
const Operation<UnpackZerosArgs, RunUnpackZeros> unpack_zeros("unpackZeros");
const Operation<TransposeArgs, RunTranspose> transpose("transpose");

}  // namespace

}  // namespace kernels::cuda
