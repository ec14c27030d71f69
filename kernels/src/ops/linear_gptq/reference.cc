#include <algorithm>

#include "core/widen.h"
#include "ops/linear_gptq/implementations.h"
#include "ops/packing/gptq_weight.h"

namespace kernels {

namespace {

constexpr int64_t kColumns = 16;  // a cache line of qweight

// Columns [first, first + count) of W^T, [in, kColumns].
void DequantizeColumns(const GptqWeight& weight, const std::vector<int32_t>& groups, int64_t first,
                       int64_t count, float* panel) {
  float scales[kColumns];
  int32_t zeros[kColumns];
  int32_t loaded = -1;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] != loaded) {
      loaded = groups[i];
      Widen(weight.scales, loaded * weight.scales.stride[0] + first, count, scales);
      for (int64_t c = 0; c < count; ++c) zeros[c] = weight.Zero(loaded, first + c);
    }
    const int64_t row = static_cast<int64_t>(i) / weight.CodesPerWord();
    const int shift = static_cast<int>(i) % weight.CodesPerWord() * weight.bits;
    const uint32_t* words = weight.qweight.Row<const uint32_t>(row) + first;
    for (int64_t c = 0; c < count; ++c) {
      const int32_t code = static_cast<int32_t>((words[c] >> shift) & weight.MaxCode());
      panel[i * kColumns + c] = Dequantized(scales[c], code, zeros[c]);
    }
  }
}

}  // namespace

void LinearGptqReference(const Context& context, const LinearGptqArgs& args) {
  const GptqWeight weight = GptqWeightOf(args);
  const int64_t rows = args.y.shape[0];
  const int64_t out = args.y.shape[1];
  const int64_t in = args.x.shape[1];
  const std::vector<int32_t> groups = GroupOfInputs("linearGptq", weight, in);
  if (rows == 0) return;
  context.pool.ParallelFor((out + kColumns - 1) / kColumns, [&](int64_t chunk, int worker) {
    const int64_t first = chunk * kColumns;
    const int64_t count = std::min(kColumns, out - first);
    const size_t bytes = static_cast<size_t>((in + 1) * kColumns) * sizeof(float);
    float* panel = reinterpret_cast<float*>(context.pool.Scratch(worker, bytes));
    DequantizeColumns(weight, groups, first, count, panel);
    float bias[kColumns] = {};
    if (!args.bias.empty()) Widen(args.bias, first, count, bias);
    for (int64_t row = 0; row < rows; ++row) {
      const float* x = args.x.Row<const float>(row);
      double sums[kColumns];
      for (int64_t c = 0; c < count; ++c) sums[c] = bias[c];
      for (int64_t i = 0; i < in; ++i) {
        const double xi = x[i];
        for (int64_t c = 0; c < count; ++c) sums[c] += xi * panel[i * kColumns + c];
      }
      for (int64_t c = 0; c < count; ++c) {
        args.y.Row<float>(row)[first + c] = static_cast<float>(sums[c]);
      }
    }
  });
}

}  // namespace kernels
