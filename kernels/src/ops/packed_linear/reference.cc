#include <cmath>

#include "core/rows.h"
#include "core/widen.h"
#include "ops/packed_linear/implementations.h"

namespace kernels::reference {

#include "ops/packed_linear/quantize.inl"

namespace {

// Σ code * x over one block, by output, minus zero * Σ x.
void SumBlock(const PackedLinearArgs& args, int64_t row, int64_t output_block, int64_t block,
              int32_t sums[kPackedOutputs]) {
  const PackedWeight& weight = args.weight;
  const int pairs = 16 / weight.bits;  // per word
  const uint32_t mask = (1u << weight.bits) - 1;
  const int32_t* x = args.x.codes.Row<const int32_t>(row) + block * weight.block_size / 2;
  const int32_t* words = weight.words.As<const int32_t>() + output_block * weight.words.stride[0] +
                         block * weight.BlockWords() * kPackedOutputs;
  const int32_t total = args.x.sums.Row<const int32_t>(row)[block];
  for (int64_t n = 0; n < kPackedOutputs; ++n) {
    const int64_t at = (output_block * weight.Blocks() + block) * kPackedOutputs + n;
    const int32_t zero =
        weight.zeros.empty() ? weight.zero : int32_t{weight.zeros.As<const uint8_t>()[at]};
    int64_t sum = -int64_t{zero} * total;
    for (int64_t w = 0; w < weight.BlockWords(); ++w) {
      const uint32_t word = static_cast<uint32_t>(words[w * kPackedOutputs + n]);
      for (int j = 0; j < pairs; ++j) {
        const int32_t pair = x[w * pairs + j];
        const int64_t low = word >> (j * weight.bits) & mask;
        const int64_t high = word >> (j * weight.bits + 16) & mask;
        sum += low * static_cast<int16_t>(pair) + high * (pair >> 16);
      }
    }
    sums[n] = static_cast<int32_t>(sum);
  }
}

}  // namespace

void PackedLinear(const Context& context, const PackedLinearArgs& args) {
  const int64_t rows = args.y.shape[0];
  const int64_t out = args.y.shape[1];
  const int64_t blocks = args.weight.Blocks();
  context.pool.ParallelFor(args.weight.OutputBlocks(), [&](int64_t output_block, int) {
    const int64_t first = output_block * kPackedOutputs;
    const int64_t count = std::min(kPackedOutputs, out - first);
    float bias[kPackedOutputs] = {};
    if (!args.bias.empty()) Widen(args.bias, first, count, bias);
    for (int64_t row = 0; row < rows; ++row) {
      float y[kPackedOutputs] = {};
      for (int64_t b = 0; b < blocks; ++b) {
        int32_t sums[kPackedOutputs];
        SumBlock(args, row, output_block, b, sums);
        float scales[kPackedOutputs];
        Widen(args.weight.scales, (output_block * blocks + b) * kPackedOutputs, kPackedOutputs,
              scales);
        const float scale = args.x.scales.Row<const float>(row)[b];
        for (int64_t n = 0; n < kPackedOutputs; ++n) {
          y[n] = std::fma(static_cast<float>(sums[n]), scales[n] * scale, y[n]);
        }
      }
      for (int64_t n = 0; n < count; ++n) {
        y[n] += bias[n];
        if (!args.residual.empty()) y[n] += args.residual.Row<const float>(row)[first + n];
        args.y.Row<float>(row)[first + n] = y[n];
      }
    }
  });
}

}  // namespace kernels::reference
