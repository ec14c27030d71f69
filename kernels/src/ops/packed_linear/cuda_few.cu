#include <algorithm>

#include "ops/elementwise/cuda_swiglu.h"
#include "ops/packed_linear/cuda_quantize.h"
#include "ops/rms_norm/cuda_scale.h"

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
__device__ __forceinline__ void LoadStep(const Layout& layout, const Weight& weight,
                                         int64_t first_block, int index, int s, Words<kBits>& to) {
  const int lane = threadIdx.x % kWarpSize;
  const int64_t output_block = first_block + lane / 16;
  const auto blocks = static_cast<int>(layout.blocks);
  const uint4* words = weight.words + output_block * blocks * layout.block_lines * 4 + lane / 4 % 4;
  const int lines = output_block < layout.output_blocks ? blocks * layout.block_lines : 0;
  const int first_line =
      (index * layout.UnitBlocks() + (s >> layout.steps_log2)) * layout.block_lines;
#pragma unroll
  for (int part = 0; part < kBits / 4; ++part) {
    const int line = (s & (layout.BlockSteps() - 1)) * kBits + part * 4 + lane % 4;
    const bool exists = line < layout.block_lines && first_line + line < lines;
    to[s][part] = exists ? __ldg(words + (first_line + line) * 4) : uint4{};
  }
}

template <int kBits>
__device__ __forceinline__ void LoadUnit(const Layout& layout, const Weight& weight,
                                         int64_t first_block, int index, Words<kBits>& to) {
#pragma unroll
  for (int s = 0; s < kUnitSteps; ++s) LoadStep<kBits>(layout, weight, first_block, index, s, to);
}

__device__ __forceinline__ Grid LoadGrid(const Layout& layout, const Weight& weight,
                                         int64_t first_block, int index) {
  const int lane = threadIdx.x % kWarpSize;
  const int block = index * layout.UnitBlocks() + lane / 8;
  const int64_t output_block = first_block + lane % 8 / 4;
  if (lane / 8 >= layout.UnitBlocks() || block >= layout.blocks ||
      output_block >= layout.output_blocks) {
    return {};
  }
  const int64_t at = (output_block * layout.blocks + block) * kPackedOutputs + lane % 4 * 4;
  return {LoadScales(weight, at), LoadZeros(weight, at)};
}

// Codes of 8 rows, or of one that the block normalises, each for itself, and the warp rounds.
template <int kBits, int kPlanes>
struct StoredCodes {
  static constexpr int kRows = kTileRows;
  const uint2* codes;
  const float* scales;
  const int32_t* sums;
  int rows;

  template <int kThreads>
  static __device__ __forceinline__ float RowScale(const Rounding&) {
    return 1.0f;
  }
  __device__ __forceinline__ StoredCodes(const Product& product, int64_t tile, int64_t unit,
                                         float) {
    const int lane = threadIdx.x % kWarpSize;
    const int64_t block = tile * product.layout.blocks + unit * product.layout.UnitBlocks();
    codes = product.x.codes + (block << product.layout.steps_log2) * kPlanes * kWarpSize + lane;
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
  static constexpr int kRows = 1;
  using Shared = uint2[16][kPlanes][kWarpSize / 2];
  const uint2 (*words)[kWarpSize / 2];  // this warp's, through shared memory
  float scale;
  int32_t sum;

  template <int kThreads>
  static __device__ __forceinline__ float RowScale(const Rounding& rounding) {
    if (rounding.norm == nullptr) return 1.0f;
    return RmsScale<kThreads>(rounding.x.Row(0), rounding.in, rounding.epsilon);
  }
  __device__ __forceinline__ OwnCodes(const Product& product, int64_t, int64_t unit,
                                      float row_scale) {
    SHARED(Shared, all);
    const LaneCodes own = RoundUnit(product.rounding, kBits, 0, unit, row_scale);
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
__device__ __forceinline__ void Multiply(const Layout& layout, DType dtype, int begin,
                                         const Words<kBits>& words, const Grid& grid,
                                         const Codes& codes, int rows, float2* terms, Next next) {
  int32_t sums[kPlanes][2][4] = {};
#pragma unroll
  for (int s = 0; s < kUnitSteps; ++s) {
    const int j = s >> layout.steps_log2;
    if (begin + j >= layout.blocks) break;
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
    if (((s + 1) & (layout.BlockSteps() - 1)) != 0) continue;
    const unsigned from = static_cast<unsigned>(8 * j) + threadIdx.x % kWarpSize / 4;
    uint4 stored = {__shfl_sync(kAllLanes, grid.scales.x, from),
                    __shfl_sync(kAllLanes, grid.scales.y, from), 0, 0};
    if (dtype == DType::kF32) {
      stored.z = __shfl_sync(kAllLanes, grid.scales.z, from);
      stored.w = __shfl_sync(kAllLanes, grid.scales.w, from);
    }
    float scales[4];
    WidenScales(stored, dtype, scales);
    StoreTerms<kPlanes>(scales, __shfl_sync(kAllLanes, grid.zeros, from), codes.Scales(j, s),
                        codes.Sums(j, s), sums, rows, terms + j * rows * kGroupOutputs);
#pragma unroll
    for (int plane = 0; plane < kPlanes; ++plane) {
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[plane][i / 4][i % 4] = 0;
    }
  }
}

// With a gate, half of the warps multiply by its weight what the others multiply by theirs.
template <int kBits, int kPlanes, int kWarps, bool kIsGated, class Codes>
__global__ void __launch_bounds__(kWarps* kWarpSize, 16 / kWarps) FewRowsKernel(Product product) {
  constexpr int kTeam = kIsGated ? kWarps / 2 : kWarps;
  constexpr int kRows = Codes::kRows;
  constexpr int kChains = (kRows + kTeam - 1) / kTeam;  // of a thread: rows `kTeam` apart
  DYNAMIC_SHARED(float2, terms);
  const bool is_gate = kIsGated && threadIdx.x / kWarpSize >= kTeam;
  const Layout& layout = product.layout;
  // Not in registers: there are none left.
  const Weight& weight = product.weights[is_gate ? 1 : 0];
  // Neighbouring blocks read the same weight.
  const int64_t tile = blockIdx.x % product.Tiles();
  const int64_t first_block = blockIdx.x / product.Tiles() * 2;
  const int rows = static_cast<int>(std::min<int64_t>(kRows, product.rows - tile * kTileRows));
  const int warp = threadIdx.x / kWarpSize % kTeam;
  const int output = threadIdx.x % kWarpSize;
  const auto blocks = static_cast<int>(layout.blocks);
  const auto units = static_cast<int>(layout.Units());
  float2* own_terms = terms + (is_gate ? kTeam * layout.UnitBlocks() * rows * kGroupOutputs : 0);
  float y[kChains] = {};
  Words<kBits> words;
  LoadUnit<kBits>(layout, weight, first_block, warp, words);
  Grid grid = LoadGrid(layout, weight, first_block, warp);
  // While the first loads are under way.
  const float row_scale = Codes::template RowScale<kWarps * kWarpSize>(product.rounding);
  for (int first = 0; first < units; first += kTeam) {
    const int index = first + warp;
    // With 8 bits there are no registers for two units: a step's words come where they were used.
    [[maybe_unused]] Words<kBits> ahead;
    if constexpr (kBits == 4) LoadUnit<kBits>(layout, weight, first_block, index + kTeam, ahead);
    const Grid grid_ahead = LoadGrid(layout, weight, first_block, index + kTeam);
    if (index < units) {
      const Codes codes(product, tile, index, row_scale);
      Multiply<kBits, kPlanes>(
          layout, weight.dtype, index * layout.UnitBlocks(), words, grid, codes, rows,
          own_terms + warp * layout.UnitBlocks() * rows * kGroupOutputs, [&](int s) {
            if constexpr (kBits == 8) {
              LoadStep<kBits>(layout, weight, first_block, index + kTeam, s, words);
            } else {
              words[s][0] = ahead[s][0];
            }
          });
    }
    grid = grid_ahead;
    __syncthreads();
    const int count = std::min(kTeam * layout.UnitBlocks(), blocks - first * layout.UnitBlocks());
#pragma unroll
    for (int chain = 0; chain < kChains; ++chain) {
      const int row = warp + chain * kTeam;
      for (int b = 0; b < count && row < rows; ++b) {
        const float2 term = own_terms[(b * rows + row) * kGroupOutputs + output];
        y[chain] = __fmaf_rn(term.x, term.y, y[chain]);
      }
    }
    __syncthreads();
  }
  const int64_t column = first_block * kPackedOutputs + output;
  // Where the terms were.
  [[maybe_unused]] auto* gates = reinterpret_cast<float*>(terms);
#pragma unroll
  for (int chain = 0; chain < kChains; ++chain) {
    const int row = warp + chain * kTeam;
    if (column < product.out) y[chain] += BiasOf(weight, column);
    if (is_gate && row < rows) gates[row * kGroupOutputs + output] = y[chain];
  }
  if constexpr (kIsGated) __syncthreads();
  if (is_gate || column >= product.out) return;
#pragma unroll
  for (int chain = 0; chain < kChains; ++chain) {
    const int row = warp + chain * kTeam;
    if (row >= rows) return;
    const int64_t at = tile * kTileRows + row;
    if constexpr (kIsGated) y[chain] = SwigluOf(y[chain], gates[row * kGroupOutputs + output]);
    if (product.residual.data != nullptr) y[chain] += product.residual.Row(at)[column];
    product.y.Row(at)[column] = y[chain];
  }
}

template <int kBits, int kPlanes, int kWarps, bool kIsGated>
void LaunchWarps(Session& session, const Product& product, int64_t blocks) {
  const bool is_one = product.rows == 1;
  const int64_t terms = kWarps * product.layout.UnitBlocks() *
                        std::min<int64_t>(kTileRows, product.rows) * kGroupOutputs;
  Launch(session,
         is_one ? FewRowsKernel<kBits, kPlanes, kWarps, kIsGated, OwnCodes<kBits, kPlanes>>
                : FewRowsKernel<kBits, kPlanes, kWarps, kIsGated, StoredCodes<kBits, kPlanes>>,
         {.blocks_x = BlockCount(blocks),
          .threads = kWarps * kWarpSize,
          .shared_bytes = static_cast<size_t>(terms) * sizeof(float2)},
         product);
}

// 64 KB of weight are under way for each multiprocessor: by 16 warps of one block, or by 8 warps of
// each of the two that fit it, where there are so many.
template <int kBits, int kPlanes, bool kIsGated>
void LaunchFewRowsOf(Session& session, const Product& product) {
  const int64_t blocks = CeilDivide(product.layout.output_blocks, 2) * product.Tiles();
  if constexpr (kBits == 4) {
    if (blocks <= session.multiprocessors()) {
      return LaunchWarps<kBits, kPlanes, 16, kIsGated>(session, product, blocks);
    }
  }
  LaunchWarps<kBits, kPlanes, 8, kIsGated>(session, product, blocks);
}

template <int kBits, int kPlanes>
void LaunchGated(Session& session, const Product& product) {
  product.weights[1].words == nullptr ? LaunchFewRowsOf<kBits, kPlanes, false>(session, product)
                                      : LaunchFewRowsOf<kBits, kPlanes, true>(session, product);
}

}  // namespace

void LaunchFewRows(Session& session, const Product& product, int bits, int planes) {
  if (bits == 4) {
    return planes == 2 ? LaunchGated<4, 2>(session, product) : LaunchGated<4, 1>(session, product);
  }
  return planes == 2 ? LaunchGated<8, 2>(session, product) : LaunchGated<8, 1>(session, product);
}

}  // namespace kernels::cuda::packed
