#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/widen.h"
#include "ops/head_screen/head_screen.h"

namespace kernels {

namespace {

constexpr int64_t kBlock = kLargestPackedBlock;
constexpr float kLargestCode = 127;
// Adding and taking away rounds a small float to an integer, to even.
constexpr float kRounder = 0x1.8p23f;

// ‖x - x'‖ <= kActivations * ‖x‖ for activations of 16 bits: of a block of 128 with largest
// magnitude m <= ‖block‖, every element is off by at most 0.504 * m / 32767.
constexpr double kActivations = 1.8e-4;

// Relative to ‖x‖ ‖w‖: a chain of f32 additions over at most in / 8 terms (the narrowest lanes), a
// tree over the lanes, and packedLinear's chain over blocks, which is shorter.
double SumRounding(int64_t in) {
  return 2 * (static_cast<double>(in) / 8 + 16) * 0x1p-24;
}

// The smallest bf16 that is not below a positive number.
BF16 RoundUp(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return {static_cast<uint16_t>((bits >> 16) + ((bits & 0xffff) != 0))};
}

// In lanes that the compiler keeps in vectors.
constexpr int kSumLanes = 8;
struct RowSums {
  double error[kSumLanes] = {};  // Σ (w - rounded w)²
  double square[kSumLanes] = {};
};

double Sum(const double* lanes) {
  double sum = 0;
  for (int i = 0; i < kSumLanes; ++i) sum += lanes[i];
  return sum;
}

// One block of one row: codes [kBlock], the scale, and what rounding lost.
BF16 RoundBlock(const float* w, uint8_t* codes, RowSums& sums) {
  float most = 0;
  for (int64_t i = 0; i < kBlock; ++i) most = std::max(most, std::fabs(w[i]));
  const BF16 stored = RoundUp(most / kLargestCode);
  const float scale = ToFloat(stored);
  // A block of zeros, or one too small for a scale, is all zeros.
  const float inverse = scale > 0 && 1 / scale < INFINITY ? 1 / scale : 0;
  float rounded[kBlock];
  for (int64_t i = 0; i < kBlock; ++i) {
    const float code = (w[i] * inverse + kRounder) - kRounder;
    const float most_code = code < kLargestCode ? code : kLargestCode;  // that for NaN
    rounded[i] = most_code > -kLargestCode ? most_code : -kLargestCode;
    codes[i] = static_cast<uint8_t>(128 + static_cast<int>(rounded[i]));
  }
  for (int64_t i = 0; i < kBlock; i += kSumLanes) {
    for (int64_t n = 0; n < kSumLanes; ++n) {
      const double error = double{w[i + n]} - double{scale} * double{rounded[i + n]};
      sums.error[n] += error * error;
      sums.square[n] += double{w[i + n]} * double{w[i + n]};
    }
  }
  return stored;
}

void PackOutputs(const PackRowsArgs& args, int64_t output_block, float* w) {
  const int64_t in = args.weight.shape[1];
  const int64_t out = args.weight.shape[0];
  const int64_t blocks = args.packed.Blocks();
  const int64_t block_words = args.packed.BlockWords();
  auto* words = args.packed.words.As<uint32_t>() + output_block * args.packed.words.stride[0];
  auto* scales = args.packed.scales.As<BF16>() + output_block * blocks * kPackedOutputs;
  for (int64_t n = 0; n < kPackedOutputs; ++n) {
    const int64_t row = output_block * kPackedOutputs + n;
    std::fill_n(w, blocks * kBlock, 0.0f);
    if (row < out) Widen(args.weight, row * args.weight.stride[0], in, w);
    RowSums sums;
    for (int64_t b = 0; b < blocks; ++b) {
      uint8_t codes[kBlock];
      scales[b * kPackedOutputs + n] = RoundBlock(w + b * kBlock, codes, sums);
      for (int64_t i = 0; i < block_words; ++i) {
        uint32_t word;
        std::memcpy(&word, codes + 4 * i, sizeof word);
        words[(b * block_words + i) * kPackedOutputs + n] = word;
      }
    }
    if (row >= out) continue;
    const double norm = std::sqrt(Sum(sums.square));
    const double slack = std::sqrt(Sum(sums.error)) + (kActivations + SumRounding(in)) * norm;
    // Rounded to f32, and the norm of x that it is multiplied by too.
    args.slack.As<float>()[row] = static_cast<float>(slack * (1 + 0x1p-20));
  }
}

}  // namespace

void PackRows(const Context& context, const PackRowsArgs& args) {
  const size_t bytes = args.packed.Blocks() * kBlock * sizeof(float);
  context.pool.ParallelFor(args.packed.OutputBlocks(), [&](int64_t output_block, int worker) {
    PackOutputs(args, output_block, reinterpret_cast<float*>(context.pool.Scratch(worker, bytes)));
  });
}

}  // namespace kernels
