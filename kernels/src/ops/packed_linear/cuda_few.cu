#include <algorithm>

#include "ops/packed_linear/cuda_quantize.h"

namespace kernels::cuda::packed {

namespace {

// Few rows: a block computes 8 rows by 32 outputs. Its warps take units of places in turn, with the
// next unit's loads under way, and leave what each block of places adds in shared memory, where
// another thread for each output takes up the chain. A unit is 2 KB of a warp's weight, or 4 KB
// with 8 bits. Of activations each warp reads what it multiplies, once, from the cache: keeping
// them in shared memory would save nothing.

template <int kBits>
using Words = uint4[kUnitSteps][kBits / 4];

// Lane 8 j + k has the scales and zeros of outputs 4 k to 4 k + 3 in the unit's block j.
struct Grid {
  uint4 scales;
  uint32_t zeros;
};

// Step s of unit `index`; zeros beyond the weight.
template <int kBits>
__device__ __forceinline__ void LoadStep(const Weight& weight, int64_t first_block, int index,
                                         int s, Words<kBits>& to) {
  const int lane = threadIdx.x % kWarpSize;
  const int64_t output_block = first_block + lane / 16;
  const auto blocks = static_cast<int>(weight.blocks);
  const uint4* words = weight.words + output_block * blocks * weight.block_lines * 4 + lane / 4 % 4;
  const int lines = output_block < weight.output_blocks ? blocks * weight.block_lines : 0;
  const int first_line =
      (index * weight.UnitBlocks() + (s >> weight.steps_log2)) * weight.block_lines;
#pragma unroll
  for (int part = 0; part < kBits / 4; ++part) {
    const int line = (s & (weight.BlockSteps() - 1)) * kBits + part * 4 + lane % 4;
    const bool exists = line < weight.block_lines && first_line + line < lines;
    to[s][part] = exists ? __ldg(words + (first_line + line) * 4) : uint4{};
  }
}

template <int kBits>
__device__ __forceinline__ void LoadUnit(const Weight& weight, int64_t first_block, int index,
                                         Words<kBits>& to) {
#pragma unroll
  for (int s = 0; s < kUnitSteps; ++s) LoadStep<kBits>(weight, first_block, index, s, to);
}

__device__ __forceinline__ Grid LoadGrid(const Weight& weight, int64_t first_block, int index) {
  const int lane = threadIdx.x % kWarpSize;
  const int block = index * weight.UnitBlocks() + lane / 8;
  const int64_t output_block = first_block + lane % 8 / 4;
  if (lane / 8 >= weight.UnitBlocks() || block >= weight.blocks ||
      output_block >= weight.output_blocks) {
    return {};
  }
  const int64_t at = (output_block * weight.blocks + block) * kPackedOutputs + lane % 4 * 4;
  return {LoadScales(weight, at), LoadZeros(weight, at)};
}

// Codes of 8 rows, or of one that the warp itself rounds.
template <int kBits, int kPlanes>
struct StoredCodes {
  const uint2* codes;
  const float* scales;
  const int32_t* sums;
  int rows;

  __device__ __forceinline__ StoredCodes(const Product& product, int64_t tile, int64_t unit) {
    const int lane = threadIdx.x % kWarpSize;
    const int64_t block = tile * product.weight.blocks + unit * product.weight.UnitBlocks();
    codes = product.x.codes + (block << product.weight.steps_log2) * kPlanes * kWarpSize + lane;
    scales = product.x.scales + block * kTileRows + lane % 4 * 2;
    sums = product.x.sums + block * kTileRows + lane % 4 * 2;
    rows = static_cast<int>(std::min<int64_t>(kTileRows, product.rows - tile * kTileRows));
  }
  // The B operand of step s.
  __device__ __forceinline__ void Operand(int s, uint32_t x[kPlanes][2]) const {
#pragma unroll
    for (int plane = 0; plane < kPlanes; ++plane) {
      const bool exists = static_cast<int>(threadIdx.x) % kWarpSize / 4 < rows;
      const uint2 pair = exists ? codes[(s * kPlanes + plane) * kWarpSize] : uint2{};
      x[plane][0] = pair.x;
      x[plane][1] = pair.y;
    }
  }
  // Of the unit's block j and this lane's two columns of sums; s is a step of that block.
  __device__ __forceinline__ float2 Scales(int j, int) const {
    return *reinterpret_cast<const float2*>(scales + j * kTileRows);
  }
  __device__ __forceinline__ int2 Sums(int j, int) const {
    return *reinterpret_cast<const int2*>(sums + j * kTileRows);
  }
};

template <int kBits, int kPlanes>
struct OwnCodes {
  using Shared = uint2[16][kPlanes][kWarpSize / 2];
  const uint2 (*words)[kWarpSize / 2];  // this warp's, through shared memory
  float scale;
  int32_t sum;

  __device__ __forceinline__ OwnCodes(const Product& product, int64_t, int64_t unit) {
    SHARED(Shared, all);
    const LaneCodes own = RoundUnit(product.rounding, kBits, 0, unit);
    words = all[threadIdx.x / kWarpSize];
#pragma unroll
    for (int plane = 0; plane < kPlanes; ++plane) {
      auto* to = reinterpret_cast<uint32_t*>(all[threadIdx.x / kWarpSize][plane]);
      to[threadIdx.x % kWarpSize] = own.planes[plane];
    }
    __syncwarp();
    scale = own.scale;
    sum = own.sum;
  }
  __device__ __forceinline__ void Operand(int s, uint32_t x[kPlanes][2]) const {
    const unsigned lane = threadIdx.x % kWarpSize;
#pragma unroll
    for (int plane = 0; plane < kPlanes; ++plane) {
      const uint2 pair = lane < 4 ? words[plane][4 * s + lane] : uint2{};
      x[plane][0] = pair.x;
      x[plane][1] = pair.y;
    }
  }
  __device__ __forceinline__ float2 Scales(int, int s) const {
    return {__shfl_sync(kAllLanes, scale, static_cast<unsigned>(8 * s)), 0};
  }
  __device__ __forceinline__ int2 Sums(int, int s) const {
    return {__shfl_sync(kAllLanes, sum, static_cast<unsigned>(8 * s)), 0};
  }
};

// What a block of places adds: y = fma(x, y, y) of each term. They lie [row, output].
template <int kPlanes>
__device__ __forceinline__ void StoreTerms(const float scales[4], uint32_t zeros, float2 x_scales,
                                           int2 totals, int32_t sums[kPlanes][2][4], int rows,
                                           float2* terms) {
  const auto [g, t] = PlaceOfLane();
#pragma unroll
  for (int column = 0; column < 2; ++column) {
    if (2 * t + column >= rows) continue;
    const float scale = column == 0 ? x_scales.x : x_scales.y;
    const int32_t total = column == 0 ? totals.x : totals.y;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float term[4];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        int32_t sum = sums[0][i][2 * h + column];
        if constexpr (kPlanes == 2) sum += 256 * sums[1][i][2 * h + column];
        sum -= ZeroOf(zeros, 2 * i + h) * total;
        term[2 * h] = static_cast<float>(sum);
        term[2 * h + 1] = scales[2 * i + h] * scale;
      }
      float2* to = terms + (2 * t + column) * kGroupOutputs + 4 * g + 2 * i;
      *reinterpret_cast<float4*>(to) = {term[0], term[1], term[2], term[3]};
    }
  }
}

// A unit whose first block is `begin`; next(s) is called when step s has been multiplied.
template <int kBits, int kPlanes, class Codes, class Next>
__device__ __forceinline__ void Multiply(const Weight& weight, int begin, const Words<kBits>& words,
                                         const Grid& grid, const Codes& codes, int rows,
                                         float2* terms, Next next) {
  int32_t sums[kPlanes][2][4] = {};
#pragma unroll
  for (int s = 0; s < kUnitSteps; ++s) {
    const int j = s >> weight.steps_log2;
    if (begin + j >= weight.blocks) break;
    uint32_t x[kPlanes][2];
    codes.Operand(s, x);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      uint32_t a[4];
      Fragment<kBits>(words[s], i, a);
#pragma unroll
      for (int plane = 0; plane < kPlanes; ++plane) MmaU8S8(sums[plane][i], a, x[plane]);
    }
    next(s);
    if (((s + 1) & (weight.BlockSteps() - 1)) != 0) continue;
    const unsigned from = static_cast<unsigned>(8 * j) + threadIdx.x % kWarpSize / 4;
    uint4 stored = {__shfl_sync(kAllLanes, grid.scales.x, from),
                    __shfl_sync(kAllLanes, grid.scales.y, from), 0, 0};
    if (weight.dtype == DType::kF32) {
      stored.z = __shfl_sync(kAllLanes, grid.scales.z, from);
      stored.w = __shfl_sync(kAllLanes, grid.scales.w, from);
    }
    float scales[4];
    WidenScales(stored, weight.dtype, scales);
    StoreTerms<kPlanes>(scales, __shfl_sync(kAllLanes, grid.zeros, from), codes.Scales(j, s),
                        codes.Sums(j, s), sums, rows, terms + j * rows * kGroupOutputs);
#pragma unroll
    for (int plane = 0; plane < kPlanes; ++plane) {
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[plane][i / 4][i % 4] = 0;
    }
  }
}

template <int kBits, int kPlanes, int kWarps, class Codes>
__global__ void __launch_bounds__(kWarps* kWarpSize, 16 / kWarps) FewRowsKernel(Product product) {
  DYNAMIC_SHARED(float2, terms);
  const Weight& weight = product.weight;
  // Neighbouring blocks read the same weight.
  const int64_t tile = blockIdx.x % product.Tiles();
  const int64_t first_block = blockIdx.x / product.Tiles() * 2;
  const int rows = static_cast<int>(std::min<int64_t>(kTileRows, product.rows - tile * kTileRows));
  const int warp = threadIdx.x / kWarpSize;
  const int row = warp;
  const int output = threadIdx.x % kWarpSize;
  const auto blocks = static_cast<int>(weight.blocks);
  const auto units = static_cast<int>(weight.Units());
  float y = 0;
  Words<kBits> words;
  LoadUnit<kBits>(weight, first_block, warp, words);
  Grid grid = LoadGrid(weight, first_block, warp);
  for (int first = 0; first < units; first += kWarps) {
    const int index = first + warp;
    // With 8 bits there are no registers for two units: a step's words come where they were used.
    [[maybe_unused]] Words<kBits> ahead;
    if constexpr (kBits == 4) LoadUnit<kBits>(weight, first_block, index + kWarps, ahead);
    const Grid grid_ahead = LoadGrid(weight, first_block, index + kWarps);
    if (index < units) {
      const Codes codes(product, tile, index);
      Multiply<kBits, kPlanes>(weight, index * weight.UnitBlocks(), words, grid, codes, rows,
                               terms + warp * weight.UnitBlocks() * rows * kGroupOutputs,
                               [&](int s) {
                                 if constexpr (kBits == 8) {
                                   LoadStep<kBits>(weight, first_block, index + kWarps, s, words);
                                 } else {
                                   words[s][0] = ahead[s][0];
                                 }
                               });
    }
    grid = grid_ahead;
    __syncthreads();
    const int count = std::min(kWarps * weight.UnitBlocks(), blocks - first * weight.UnitBlocks());
    for (int b = 0; b < count && row < rows; ++b) {
      const float2 term = terms[(b * rows + row) * kGroupOutputs + output];
      y = __fmaf_rn(term.x, term.y, y);
    }
    __syncthreads();
  }
  const int64_t column = first_block * kPackedOutputs + output;
  if (row >= rows || column >= product.out) return;
  y += BiasOf(product, column);
  const int64_t at = tile * kTileRows + row;
  if (product.residual.data != nullptr) y += product.residual.Row(at)[column];
  product.y.Row(at)[column] = y;
}

template <int kBits, int kPlanes, int kWarps>
void LaunchWarps(Session& session, const Product& product, int64_t blocks) {
  const bool is_one = product.rows == 1;
  const int64_t terms = kWarps * product.weight.UnitBlocks() *
                        std::min<int64_t>(kTileRows, product.rows) * kGroupOutputs;
  Launch(session,
         is_one ? FewRowsKernel<kBits, kPlanes, kWarps, OwnCodes<kBits, kPlanes>>
                : FewRowsKernel<kBits, kPlanes, kWarps, StoredCodes<kBits, kPlanes>>,
         {.blocks_x = BlockCount(blocks),
          .threads = kWarps * kWarpSize,
          .shared_bytes = static_cast<size_t>(terms) * sizeof(float2)},
         product);
}

// 64 KB of weight are under way for each multiprocessor: by 16 warps of one block, or by 8 warps of
// each of the two that fit it, where there are so many.
template <int kBits, int kPlanes>
void LaunchFewRowsOf(Session& session, const Product& product) {
  const int64_t blocks = CeilDivide(product.weight.output_blocks, 2) * product.Tiles();
  if constexpr (kBits == 4) {
    if (blocks <= session.multiprocessors()) {
      return LaunchWarps<kBits, kPlanes, 16>(session, product, blocks);
    }
  }
  LaunchWarps<kBits, kPlanes, 8>(session, product, blocks);
}

}  // namespace

void LaunchFewRows(Session& session, const Product& product, int bits, int planes) {
  if (bits == 4) {
    return planes == 2 ? LaunchFewRowsOf<4, 2>(session, product)
                       : LaunchFewRowsOf<4, 1>(session, product);
  }
  return planes == 2 ? LaunchFewRowsOf<8, 2>(session, product)
                     : LaunchFewRowsOf<8, 1>(session, product);
}

}  // namespace kernels::cuda::packed
