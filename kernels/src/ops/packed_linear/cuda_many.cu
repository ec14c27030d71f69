#include <algorithm>

#include "cuda/async_copy.h"
#include "ops/elementwise/cuda_swiglu.h"
#include "ops/packed_linear/cuda.h"

namespace kernels::cuda::packed {

namespace {

// Up to this many rows reading the weight from the cache again for each 8 of them takes no longer
// than what few blocks of many rows would leave idle.
constexpr int64_t kFewRows = 32;

// A block computes 128 outputs by 16 * kTiles rows: 8 warps, 4 along the outputs and 2 along the
// rows. Units of places come through shared memory, the further ahead the smaller they are. A warp
// multiplies a block of places with the upper halves of codes first, then, times 256, goes on with
// the lower: one sum for each element. Then it takes the sum into the element's chain.
constexpr int kThreads = 256;
constexpr int kOutputWarps = 4;
constexpr int kRowWarps = 2;
constexpr int kTileBlocks = 2 * kOutputWarps;  // of outputs
template <int kTiles>
constexpr int kStages = kTiles == 8   ? 3
                        : kTiles == 4 ? 4
                                      : 5;

template <int kBits, int kPlanes, int kTiles>
struct Stage {
  uint4 words[kTileBlocks][kUnitSteps * kBits][4];
  uint2 codes[kRowWarps * kTiles][kUnitSteps][kPlanes][kWarpSize];
  float scales[kRowWarps * kTiles][kUnitSteps][kTileRows];
  int32_t sums[kRowWarps * kTiles][kUnitSteps][kTileRows];
};

// Where in a line four outputs' words lie: swapped in every second pair of lines, so that lanes
// that read four lines at a time meet no bank twice.
__device__ __forceinline__ int Quarter(int line, int quarter) {
  return quarter ^ (line & 2);
}

struct Tile {
  int64_t first_block, first_row_tile;
};

// Starts to copy `count` pieces of 16 bytes from one place to another.
__device__ __forceinline__ void CopyPieces(void* to, const void* from, int64_t index) {
  CopyAsync16(static_cast<uint4*>(to) + index, static_cast<const uint4*>(from) + index);
}

template <int kBits, int kPlanes, int kTiles>
__device__ __forceinline__ void LoadWords(const Product& product, const Tile& tile, int64_t unit,
                                          Stage<kBits, kPlanes, kTiles>& stage) {
  constexpr int kLines = kUnitSteps * kBits;
  const Layout& layout = product.layout;
  for (int i = threadIdx.x; i < kTileBlocks * kLines * 4; i += kThreads) {
    const int line = i / 4 % kLines;
    const int step = line / kBits;
    const int64_t block = unit * layout.UnitBlocks() + (step >> layout.steps_log2);
    const int block_line = (step & (layout.BlockSteps() - 1)) * kBits + line % kBits;
    const int64_t output_block = tile.first_block + i / 4 / kLines;
    uint4* to = &stage.words[i / 4 / kLines][line][Quarter(line, i % 4)];
    if (output_block < layout.output_blocks && block < layout.blocks &&
        block_line < layout.block_lines) {
      const int64_t at = (output_block * layout.blocks + block) * layout.block_lines + block_line;
      CopyAsync16(to, product.weights[0].words + at * 4 + i % 4);
    } else {
      *to = {};
    }
  }
}

template <int kBits, int kPlanes, int kTiles>
__device__ __forceinline__ void LoadRows(const Product& product, const Tile& tile, int64_t unit,
                                         Stage<kBits, kPlanes, kTiles>& stage) {
  constexpr int kStepPieces = kPlanes * kWarpSize / 2;
  constexpr int kPieces = kUnitSteps * kStepPieces;
  constexpr int kScalePieces = kUnitSteps * kTileRows / 4;
  const Layout& layout = product.layout;
  const int tiles = static_cast<int>(
      std::min<int64_t>(kRowWarps * kTiles, product.Tiles() - tile.first_row_tile));
  const int64_t block = unit * layout.UnitBlocks();
  const int blocks =
      static_cast<int>(std::min<int64_t>(layout.UnitBlocks(), layout.blocks - block));
  const int steps = blocks << layout.steps_log2;
  for (int i = threadIdx.x; i < tiles * kPieces; i += kThreads) {
    if (i % kPieces >= steps * kStepPieces) continue;
    const int64_t at = (tile.first_row_tile + i / kPieces) * layout.blocks + block;
    CopyPieces(stage.codes[i / kPieces],
               product.x.codes + (at << layout.steps_log2) * kPlanes * kWarpSize, i % kPieces);
  }
  for (int i = threadIdx.x; i < tiles * kScalePieces; i += kThreads) {
    if (i % kScalePieces >= blocks * kTileRows / 4) continue;
    const int row_tile = i / kScalePieces;
    const int64_t at = ((tile.first_row_tile + row_tile) * layout.blocks + block) * kTileRows;
    CopyPieces(stage.scales[row_tile], product.x.scales + at, i % kScalePieces);
    CopyPieces(stage.sums[row_tile], product.x.sums + at, i % kScalePieces);
  }
}

// Unit `unit`, if there is one; a group of copies in any case.
template <int kTiles, class S>
__device__ __forceinline__ void Load(const Product& product, const Tile& tile, int64_t unit,
                                     S* stages) {
  if (unit < product.layout.Units()) {
    LoadWords(product, tile, unit, stages[unit % kStages<kTiles>]);
    LoadRows(product, tile, unit, stages[unit % kStages<kTiles>]);
  }
  CommitCopies();
}

// The products of one block of places, whose first step in the unit is `first`.
template <int kBits, int kPlanes, int kTiles>
__device__ __forceinline__ void MultiplyBlock(const Stage<kBits, kPlanes, kTiles>& stage, int first,
                                              int steps, int tiles, int32_t sums[2][kTiles][4]) {
  const int warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const auto [g, t] = PlaceOfLane();
  const auto& lines = stage.words[warp % kOutputWarps * 2 + g / 4];
  const auto* codes = stage.codes + warp / kOutputWarps * kTiles;
#pragma unroll
  for (int plane = kPlanes - 1; plane >= 0; --plane) {
    for (int s = first; s < first + steps; ++s) {
      uint4 words[kBits / 4];
#pragma unroll
      for (int part = 0; part < kBits / 4; ++part) {
        const int line = s * kBits + part * 4 + t;
        words[part] = lines[line][Quarter(line, g % 4)];
      }
      uint32_t a[2][4];
      Fragment<kBits>(words, 0, a[0]);
      Fragment<kBits>(words, 1, a[1]);
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        if (n >= tiles) continue;
        const uint2 pair = codes[n][s][plane][lane];
        const uint32_t x[2] = {pair.x, pair.y};
        MmaU8S8(sums[0][n], a[0], x);
        MmaU8S8(sums[1][n], a[1], x);
      }
    }
    if (plane == 0) continue;
#pragma unroll
    for (int i = 0; i < 8 * kTiles; ++i) sums[i / 4 / kTiles][i / 4 % kTiles][i % 4] *= 256;
  }
}

// Takes the sums of block j of a unit into the chains.
template <int kTiles, class S>
__device__ __forceinline__ void AddBlock(const Product& product, const S& stage, int j, int tiles,
                                         const uint4& stored, uint32_t zeros,
                                         int32_t sums[2][kTiles][4], float y[2][kTiles][4]) {
  const int first = threadIdx.x / kWarpSize / kOutputWarps * kTiles;
  const int t = threadIdx.x % 4;
  float scales[4];
  WidenScales(stored, product.weights[0].dtype, scales);
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    if (n >= tiles) continue;
    const float2 x = *reinterpret_cast<const float2*>(&stage.scales[first + n][j][2 * t]);
    const int2 totals = *reinterpret_cast<const int2*>(&stage.sums[first + n][j][2 * t]);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int output = i / 2;
      int32_t& sum = sums[output / 2][n][i % 4];
      float& chain = y[output / 2][n][i % 4];
      sum -= ZeroOf(zeros, output) * (i % 2 == 0 ? totals.x : totals.y);
      chain = __fmaf_rn(static_cast<float>(sum), scales[output] * (i % 2 == 0 ? x.x : x.y), chain);
      sum = 0;
    }
  }
}

// Four neighbouring outputs of a row, as far as they exist.
__device__ __forceinline__ void StoreOutputs(const Product& product, int64_t row, int64_t output,
                                             float y[4]) {
  const bool has_residual = product.residual.data != nullptr;
  const bool has_gates = product.gates.data != nullptr;
  float* to = product.y.Row(row) + output;
  const float* residual = has_residual ? product.residual.Row(row) + output : nullptr;
  const float* gates = has_gates ? product.gates.Row(row) + output : nullptr;
  if (product.has_wide_rows && output + 4 <= product.out) {
    for (int i = 0; i < 4; ++i) y[i] += BiasOf(product.weights[0], output + i);
    if (has_gates) {
      const float4 gate = *reinterpret_cast<const float4*>(gates);
      y[0] = SwigluOf(y[0], gate.x);
      y[1] = SwigluOf(y[1], gate.y);
      y[2] = SwigluOf(y[2], gate.z);
      y[3] = SwigluOf(y[3], gate.w);
    }
    if (has_residual) {
      const float4 more = *reinterpret_cast<const float4*>(residual);
      y[0] += more.x;
      y[1] += more.y;
      y[2] += more.z;
      y[3] += more.w;
    }
    *reinterpret_cast<float4*>(to) = {y[0], y[1], y[2], y[3]};
    return;
  }
  for (int i = 0; i < 4 && output + i < product.out; ++i) {
    y[i] += BiasOf(product.weights[0], output + i);
    if (has_gates) y[i] = SwigluOf(y[i], gates[i]);
    if (has_residual) y[i] += residual[i];
    to[i] = y[i];
  }
}

template <int kBits, int kPlanes, int kTiles>
__global__ void __launch_bounds__(kThreads) ManyRowsKernel(Product product, int64_t across) {
  using S = Stage<kBits, kPlanes, kTiles>;
  DYNAMIC_SHARED(S, stages);
  const Layout& layout = product.layout;
  const int warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const Tile tile{blockIdx.x / across * kTileBlocks, blockIdx.x % across * (kRowWarps * kTiles)};
  const int64_t row_tile = tile.first_row_tile + warp / kOutputWarps * kTiles;
  const int tiles = static_cast<int>(std::clamp<int64_t>(product.Tiles() - row_tile, 0, kTiles));
  const int64_t output_block = tile.first_block + warp % kOutputWarps * 2 + lane / 16;
  const int quarter = lane / 4 % 4;
  int32_t sums[2][kTiles][4] = {};
  float y[2][kTiles][4] = {};
  for (int unit = 0; unit < kStages<kTiles> - 1; ++unit) Load<kTiles>(product, tile, unit, stages);
  for (int64_t unit = 0; unit < layout.Units(); ++unit) {
    WaitCopies<kStages<kTiles> - 2>();
    __syncthreads();
    Load<kTiles>(product, tile, unit + kStages<kTiles> - 1, stages);
    const S& stage = stages[unit % kStages<kTiles>];
    for (int j = 0; j < layout.UnitBlocks(); ++j) {
      const int64_t block = unit * layout.UnitBlocks() + j;
      if (block >= layout.blocks || tiles == 0) break;
      uint4 scales{};
      uint32_t zeros = 0;
      if (output_block < layout.output_blocks) {
        const int64_t at = (output_block * layout.blocks + block) * kPackedOutputs + 4 * quarter;
        scales = LoadScales(product.weights[0], at);
        zeros = LoadZeros(product.weights[0], at);
      }
      MultiplyBlock<kBits, kPlanes, kTiles>(stage, j << layout.steps_log2, layout.BlockSteps(),
                                            tiles, sums);
      AddBlock<kTiles>(product, stage, j, tiles, scales, zeros, sums, y);
    }
  }
  const int64_t output = output_block * kPackedOutputs + 4 * quarter;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int column = 0; column < 2; ++column) {
      const int64_t row = (row_tile + n) * kTileRows + lane % 4 * 2 + column;
      float outputs[4] = {y[0][n][column], y[0][n][2 + column], y[1][n][column],
                          y[1][n][2 + column]};
      if (row < product.rows) StoreOutputs(product, row, output, outputs);
    }
  }
}

int64_t BlocksOf(const Product& product, int tiles) {
  return CeilDivide(product.layout.output_blocks, kTileBlocks) *
         CeilDivide(product.Tiles(), kRowWarps * tiles);
}

template <int kBits, int kPlanes, int kTiles>
void LaunchTiles(Session& session, const Product& product) {
  Launch(session, ManyRowsKernel<kBits, kPlanes, kTiles>,
         {.blocks_x = BlockCount(BlocksOf(product, kTiles)),
          .threads = kThreads,
          .shared_bytes = kStages<kTiles> * sizeof(Stage<kBits, kPlanes, kTiles>)},
         product, CeilDivide(product.Tiles(), kRowWarps * kTiles));
}

template <int kBits, int kPlanes>
void LaunchManyRowsOf(Session& session, const Product& product) {
  // What the fullest multiprocessor has to do; of equals the larger tiles, which read less.
  const auto work = [&](int tiles) {
    return CeilDivide(BlocksOf(product, tiles), session.multiprocessors()) * tiles;
  };
  if (work(2) < work(4) && work(2) < work(8))
    return LaunchTiles<kBits, kPlanes, 2>(session, product);
  if (work(4) < work(8)) return LaunchTiles<kBits, kPlanes, 4>(session, product);
  LaunchTiles<kBits, kPlanes, 8>(session, product);
}

}  // namespace

bool IsForManyRows(const Session& session, const Product& product) {
  if (product.rows > kFewRows) return true;
  return product.rows > kTileRows && 2 * BlocksOf(product, 2) >= session.multiprocessors();
}

void LaunchManyRows(Session& session, const Product& product, int bits, int planes) {
  if (bits == 4) {
    return planes == 2 ? LaunchManyRowsOf<4, 2>(session, product)
                       : LaunchManyRowsOf<4, 1>(session, product);
  }
  return planes == 2 ? LaunchManyRowsOf<8, 2>(session, product)
                     : LaunchManyRowsOf<8, 1>(session, product);
}

}  // namespace kernels::cuda::packed
