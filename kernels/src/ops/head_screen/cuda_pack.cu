#include <cmath>

#include "cuda/launch.h"
#include "ops/head_screen/head_screen.h"

// packRows: once, at load. A warp rounds a row; a lane 4 inputs of each block of 128, one word.
// Codes and scales have the processor's bits.
namespace kernels::cuda {

namespace {

constexpr int64_t kBlock = kLargestPackedBlock;
constexpr unsigned kWarps = kPackedOutputs;
constexpr float kLargestCode = 127;
// Adding and taking away rounds a small float to an integer, to even.
constexpr float kRounder = 0x1.8p23f;

// ‖x - x'‖ <= kActivations * ‖x‖ for activations of 16 bits: as on the processor.
constexpr double kActivations = 1.8e-4;

// Relative to ‖x‖ ‖w‖, by Cauchy and Schwarz over chains of `linear` (gemm/bf16_parts.h): one of
// 128 inputs takes at most 48 mma (8 of 16 inputs for each of at most 6 pairs of parts), which cut
// off less than 2^-23 of the largest of 17 summands from each of them: 48 * 17 * 2^-23 < 1e-4.
// Parts that are left out add 2^-23, chains and packedLinear's blocks one rounding each of in /
// 128.
double SumRounding(int64_t in) {
  return 1e-4 + 2 * (static_cast<double>(in) / 128 + 16) * 0x1p-24;
}

struct Rows {
  int64_t out, in, blocks;
  double rounding;
  uint32_t* words;
  uint16_t* scales;
  float* slack;
};

// The smallest bf16 that is not below a positive number.
__device__ uint16_t RoundUp(float value) {
  const uint32_t bits = __float_as_uint(value);
  return static_cast<uint16_t>((bits >> 16) + ((bits & 0xffff) != 0));
}

// 4 inputs' codes in a word; `error` and `square` grow by what rounding lost and by the inputs.
__device__ uint32_t RoundWord(const float w[4], float scale, double& error, double& square) {
  // A block of zeros, or one too small for a scale, is all zeros.
  const float inverse = scale > 0 && 1 / scale < INFINITY ? 1 / scale : 0;
  uint32_t word = 0;
  for (int i = 0; i < 4; ++i) {
    const float code = (w[i] * inverse + kRounder) - kRounder;
    const float most_code = code < kLargestCode ? code : kLargestCode;  // that for NaN
    const float rounded = most_code > -kLargestCode ? most_code : -kLargestCode;
    word |= static_cast<uint32_t>(128 + static_cast<int>(rounded)) << (8 * i);
    const double lost = double{w[i]} - double{scale} * double{rounded};
    error += lost * lost;
    square += double{w[i]} * double{w[i]};
  }
  return word;
}

template <class T>
__global__ void PackRowsKernel(Matrix<const T> weight, Rows rows) {
  const int64_t output_block = blockIdx.x;
  const int64_t n = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const int64_t row = output_block * kPackedOutputs + n;
  double error = 0;
  double square = 0;
  for (int64_t b = 0; b < rows.blocks; ++b) {
    float w[4];
    float most = 0;
    for (int i = 0; i < 4; ++i) {
      const int64_t input = b * kBlock + lane * 4 + i;
      w[i] = row < rows.out && input < rows.in ? ToFloat(weight.Row(row)[input]) : 0.0f;
      const float magnitude = fabsf(w[i]);
      most = magnitude > most ? magnitude : most;  // NaN never
    }
    most = WarpMax(most);
    const uint16_t scale = RoundUp(most / kLargestCode);
    const int64_t at = output_block * rows.blocks + b;
    rows.words[(at * kWarpSize + lane) * kPackedOutputs + n] =
        RoundWord(w, ToFloat(BF16{scale}), error, square);
    if (lane == 0) rows.scales[at * kPackedOutputs + n] = scale;
  }
  error = WarpSum(error);
  square = WarpSum(square);
  if (lane != 0 || row >= rows.out) return;
  const double slack = sqrt(error) + (kActivations + rows.rounding) * sqrt(square);
  // Rounded to f32, and the norm of x that it is multiplied by too.
  rows.slack[row] = static_cast<float>(slack * (1 + 0x1p-20));
}

void RunPackRows(Session& session, const PackRowsArgs& args) {
  const PackedWeight& packed = args.packed;
  const Rows rows{args.weight.shape[0],
                  args.weight.shape[1],
                  packed.Blocks(),
                  SumRounding(args.weight.shape[1]),
                  packed.words.As<uint32_t>(),
                  packed.scales.As<uint16_t>(),
                  args.slack.As<float>()};
  WithFloatType(args.weight.dtype, [&](auto type) {
    using T = decltype(type);
    Launch(session, PackRowsKernel<T>,
           {.blocks_x = BlockCount(packed.OutputBlocks()), .threads = kWarps * kWarpSize},
           MatrixOf<const T>(args.weight), rows);
  });
}

const Operation<PackRowsArgs, RunPackRows> operation("packRows");

}  // namespace

}  // namespace kernels::cuda
