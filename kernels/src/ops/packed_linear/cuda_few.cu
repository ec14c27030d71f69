#include <algorithm>

#include "ops/packed_linear/cuda.h"

namespace kernels::cuda::packed {

namespace {

// Few rows: a block computes 8 rows by 32 outputs. Its warps take units of places in turn, with the
// next unit's loads under way, and leave what each block of places adds in shared memory, where
// another thread for each output takes up the chain. A unit is 2 KB of a warp's weight, or 4 KB
// with 8 bits: the same number of bytes under way with half the warps. Of activations each warp
// reads what it multiplies, once, from the cache: keeping them in shared memory would save nothing.
template <int kBits>
constexpr int kFewWarps = kBits == 4 ? 16 : 8;

template <int kBits>
struct Unit {
  uint4 words[kUnitSteps][kBits / 4];
  // Lane 8 j + k has the scales and zeros of outputs 4 k to 4 k + 3 in the unit's block j.
  uint4 scales;
  uint32_t zeros;
};

template <int kBits>
__device__ __forceinline__ void Load(const Weight& weight, int64_t first_block, int64_t index,
                                     Unit<kBits>& unit) {
  const int lane = threadIdx.x % kWarpSize;
  const int g = lane / 4;
  const int t = lane % 4;
  const int64_t begin = index * weight.UnitBlocks();
  const int64_t output_block = first_block + g / 4;
#pragma unroll
  for (int s = 0; s < kUnitSteps; ++s) {
    const int64_t block = begin + (s >> weight.steps_log2);
    const int step = s & (weight.BlockSteps() - 1);
    const int64_t at = (output_block * weight.blocks + block) * weight.block_lines;
#pragma unroll
    for (int part = 0; part < kBits / 4; ++part) {
      const int line = step * kBits + part * 4 + t;
      const bool exists =
          output_block < weight.output_blocks && block < weight.blocks && line < weight.block_lines;
      unit.words[s][part] = exists ? __ldg(weight.words + (at + line) * 4 + g % 4) : uint4{};
    }
  }
  const int64_t block = begin + lane / 8;
  const int64_t outputs = first_block + lane % 8 / 4;
  unit.scales = {};
  unit.zeros = 0;
  if (block >= weight.blocks || outputs >= weight.output_blocks) return;
  const int64_t at = (outputs * weight.blocks + block) * kPackedOutputs + lane % 4 * 4;
  unit.scales = LoadScales(weight, at);
  unit.zeros = LoadZeros(weight, at);
}

// What a block of places adds: y = fma(x, y, y) of each term. They lie [block, row, output].
template <int kPlanes>
__device__ __forceinline__ void StoreTerms(const Product& product, int64_t tile, int64_t block,
                                           const uint4& stored, uint32_t zeros,
                                           int32_t sums[kPlanes][2][4], float2* terms) {
  const int lane = threadIdx.x % kWarpSize;
  const int g = lane / 4;
  const int t = lane % 4;
  const int64_t at = (tile * product.weight.blocks + block) * kTileRows + 2 * t;
  const int rows = static_cast<int>(std::min<int64_t>(kTileRows, product.rows - tile * kTileRows));
  float scales[4];
  WidenScales(stored, product.weight.dtype, scales);
#pragma unroll
  for (int column = 0; column < 2; ++column) {
    if (2 * t + column >= rows) continue;
    const float scale = product.x.scales[at + column];
    const int32_t total = product.x.sums[at + column];
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

template <int kBits, int kPlanes>
__device__ __forceinline__ void Multiply(const Product& product, int64_t tile, int64_t index,
                                         const Unit<kBits>& unit, int rows, float2* terms) {
  const Weight& weight = product.weight;
  const int lane = threadIdx.x % kWarpSize;
  const int64_t begin = index * weight.UnitBlocks();
  const uint2* codes = product.x.codes +
                       (tile * weight.blocks + begin) * weight.BlockSteps() * kPlanes * kWarpSize +
                       lane;
  int32_t sums[kPlanes][2][4] = {};
#pragma unroll
  for (int s = 0; s < kUnitSteps; ++s) {
    const int j = s >> weight.steps_log2;
    if (begin + j >= weight.blocks) break;
    uint32_t x[kPlanes][2] = {};
#pragma unroll
    for (int plane = 0; plane < kPlanes; ++plane) {
      if (lane / 4 >= rows) continue;
      const uint2 pair = codes[(s * kPlanes + plane) * kWarpSize];
      x[plane][0] = pair.x;
      x[plane][1] = pair.y;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      uint32_t a[4];
      Fragment<kBits>(unit.words[s], i, a);
#pragma unroll
      for (int plane = 0; plane < kPlanes; ++plane) MmaU8S8(sums[plane][i], a, x[plane]);
    }
    if ((s + 1) % weight.BlockSteps() != 0) continue;
    const unsigned from = static_cast<unsigned>(8 * j + lane / 4);
    uint4 scales = {__shfl_sync(kAllLanes, unit.scales.x, from),
                    __shfl_sync(kAllLanes, unit.scales.y, from), 0, 0};
    if (weight.dtype == DType::kF32) {
      scales.z = __shfl_sync(kAllLanes, unit.scales.z, from);
      scales.w = __shfl_sync(kAllLanes, unit.scales.w, from);
    }
    const uint32_t zeros = __shfl_sync(kAllLanes, unit.zeros, from);
    StoreTerms<kPlanes>(product, tile, begin + j, scales, zeros, sums,
                        terms + j * rows * kGroupOutputs);
#pragma unroll
    for (int plane = 0; plane < kPlanes; ++plane) {
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[plane][i / 4][i % 4] = 0;
    }
  }
}

template <int kBits, int kPlanes>
__global__ void __launch_bounds__(kFewWarps<kBits>* kWarpSize) FewRowsKernel(Product product) {
  constexpr int kWarps = kFewWarps<kBits>;
  DYNAMIC_SHARED(float2, terms);
  const Weight& weight = product.weight;
  // Neighbouring blocks read the same weight.
  const int64_t tile = blockIdx.x % product.Tiles();
  const int64_t first_block = blockIdx.x / product.Tiles() * 2;
  const int rows = static_cast<int>(std::min<int64_t>(kTileRows, product.rows - tile * kTileRows));
  const int warp = threadIdx.x / kWarpSize;
  const int row = warp;
  const int output = threadIdx.x % kWarpSize;
  const int64_t units = weight.Units();
  float y = 0;
  Unit<kBits> next;
  Load(weight, first_block, warp, next);
  for (int64_t first = 0; first < units; first += kWarps) {
    const Unit<kBits> unit = next;
    Load(weight, first_block, first + kWarps + warp, next);
    if (first + warp < units) {
      Multiply<kBits, kPlanes>(product, tile, first + warp, unit, rows,
                               terms + warp * weight.UnitBlocks() * rows * kGroupOutputs);
    }
    __syncthreads();
    const int count = static_cast<int>(std::min<int64_t>(
        kWarps * weight.UnitBlocks(), weight.blocks - first * weight.UnitBlocks()));
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

template <int kBits, int kPlanes>
void LaunchFewRowsOf(Session& session, const Product& product) {
  const int64_t groups = CeilDivide(product.weight.output_blocks, 2);
  const int64_t terms = kFewWarps<kBits> * product.weight.UnitBlocks() *
                        std::min<int64_t>(kTileRows, product.rows) * kGroupOutputs;
  Launch(session, FewRowsKernel<kBits, kPlanes>,
         {.blocks_x = BlockCount(groups * product.Tiles()),
          .threads = kFewWarps<kBits> * kWarpSize,
          .shared_bytes = static_cast<size_t>(terms) * sizeof(float2)},
         product);
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
