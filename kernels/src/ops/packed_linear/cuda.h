#pragma once

#include "cuda/numbers.h"
#include "cuda/tensor_core.h"
#include "ops/packed_linear/packed_linear.h"

// What the CUDA kernels of packed products share: how operands lie, and fragments of a weight.
//
// A product takes steps of 32 places (the K of one mma of bytes) by 32 outputs, two blocks of them.
// Of each step, lane 4 g + t loads 16 bytes: a word of outputs 4 g to 4 g + 3. That is row g of two
// mma whose rows, so permuted, are outputs 4 g + 2 i and 4 g + 2 i + 1; columns are rows of x.
namespace kernels::cuda::packed {

constexpr int kStepPlaces = 32;
// Steps that are loaded together: a block of 128 places, or as many smaller ones as fit.
constexpr int kUnitSteps = 4;
constexpr int kTileRows = 8;
constexpr int kGroupOutputs = 2 * kPackedOutputs;

struct Weight {
  const uint4* words;  // four to a line
  const void* scales;
  const uint8_t* zeros;
  DType dtype;
  int zero;
  const void* bias;  // or null
  DType bias_dtype;
};

// Where a weight's words and scales are.
struct Layout {
  int64_t output_blocks, blocks;
  int block_lines;
  int steps_log2;  // of a block's steps: 1, 2 or 4; places beyond the block's have codes of 0

  __host__ __device__ int BlockSteps() const { return 1 << steps_log2; }
  __host__ __device__ int UnitBlocks() const { return kUnitSteps >> steps_log2; }
  __host__ __device__ int64_t Units() const { return (blocks + UnitBlocks() - 1) / UnitBlocks(); }
};

// Rows of x as integers, in tiles of 8 rows as an mma's lanes read them: a code's lower and upper
// bytes (planes) lie apart.
struct Activations {
  uint2* codes;   // [tiles, blocks * steps of a block, planes, 32 lanes]
  float* scales;  // [tiles, blocks, 8]
  int32_t* sums;  // [tiles, blocks, 8]
};

// How x becomes integers.
struct Rounding {
  Matrix<const float> x;
  const int32_t* order;  // or null
  const void* norm;      // the weight of RmsNorm, or null
  DType norm_dtype;
  float epsilon;
  int64_t rows, in, blocks;
  int block_size, steps_log2;
  float largest;
};

struct Product {
  Rounding rounding;
  Activations x;  // what that gives, unless it is done while multiplying
  Layout layout;
  Weight weights[2];             // the second is for gates; its words are null if there are none
  Matrix<const float> gates;     // of many rows, computed before; data is null if there are none
  Matrix<const float> residual;  // likewise
  Matrix<float> y;
  int64_t rows, out;
  bool has_wide_rows;  // rows of y, gates and residual can be accessed 16 bytes at a time

  __host__ __device__ int64_t Tiles() const { return (rows + kTileRows - 1) / kTileRows; }
};

// For few rows, whose weight is read once for each 8 of them (cuda_few.cu), and for many
// (cuda_many.cu). A single row is normalised and rounded by those who multiply it. With few rows
// the gates are computed by the same kernel, with many by a product before.
void LaunchFewRows(Session& session, const Product& product, int bits, int planes);
bool IsForManyRows(const Session& session, const Product& product);
void LaunchManyRows(Session& session, const Product& product, int bits, int planes);

__device__ inline uint32_t WordOf(const uint4& words, int i) {
  return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
}

// The A operand of mma i from the words of a step: lines t, or t and t + 4 with 8 bits.
template <int kBits>
__device__ inline void Fragment(const uint4 words[kBits / 4], int i, uint32_t a[4]) {
  constexpr uint32_t kMask = 0x0f0f0f0fu;
  for (int h = 0; h < 2; ++h) {
    const uint32_t word = WordOf(words[0], 2 * i + h);
    if constexpr (kBits == 4) {
      a[h] = word & kMask;
      a[h + 2] = word >> 4 & kMask;
    } else {
      a[h] = word;
      a[h + 2] = WordOf(words[1], 2 * i + h);
    }
  }
}

// The scales of 4 neighbouring outputs as they are stored.
__device__ inline uint4 LoadScales(const Weight& weight, int64_t at) {
  if (weight.dtype == DType::kF32) {
    return __ldg(reinterpret_cast<const uint4*>(static_cast<const float*>(weight.scales) + at));
  }
  const uint2 pair =
      __ldg(reinterpret_cast<const uint2*>(static_cast<const uint16_t*>(weight.scales) + at));
  return {pair.x, pair.y, 0, 0};
}

__device__ inline void WidenScales(const uint4& stored, DType dtype, float scales[4]) {
  if (dtype == DType::kF32) {
    for (int i = 0; i < 4; ++i) scales[i] = __uint_as_float(WordOf(stored, i));
    return;
  }
  for (int i = 0; i < 4; ++i) {
    const uint32_t bits = WordOf(stored, i / 2) >> (i % 2 * 16) & 0xffffu;
    scales[i] = dtype == DType::kBF16 ? __uint_as_float(bits << 16)
                                      : Widen(F16{static_cast<uint16_t>(bits)});
  }
}

// The zeros of 4 neighbouring outputs, a byte each.
__device__ inline uint32_t LoadZeros(const Weight& weight, int64_t at) {
  if (weight.zeros == nullptr) return static_cast<uint32_t>(weight.zero) * 0x01010101u;
  return __ldg(reinterpret_cast<const uint32_t*>(weight.zeros + at));
}

__device__ inline int32_t ZeroOf(uint32_t zeros, int i) {
  return static_cast<int32_t>(zeros >> (8 * i) & 0xffu);
}

__device__ inline float FloatAt(const void* data, DType dtype, int64_t index) {
  switch (dtype) {
    case DType::kF16:
      return Widen(static_cast<const F16*>(data)[index]);
    case DType::kBF16:
      return ToFloat(static_cast<const BF16*>(data)[index]);
    default:
      return static_cast<const float*>(data)[index];
  }
}

__device__ inline float BiasOf(const Weight& weight, int64_t output) {
  return weight.bias == nullptr ? 0.0f : FloatAt(weight.bias, weight.bias_dtype, output);
}

}  // namespace kernels::cuda::packed
