// The parts that are matrix products.
#include <algorithm>
#include <vector>

#include "ops/gemm/gemm.h"
#include "ops/refine/refine.h"

namespace kernels {

namespace {

// Rows computed together; bounds the memory of their differences.
constexpr int64_t kRows = 192;

}  // namespace

void Residual(const Context& context, const ResidualArgs& args) {
  const int64_t out = args.target.shape[0];
  const int64_t in = args.target.shape[1];
  std::vector<float> differences(std::min(out, kRows) * in);
  for (int64_t first = 0; first < out; first += kRows) {
    const int64_t rows = std::min(kRows, out - first);
    for (int64_t i = 0; i < rows; ++i) {
      const float* target = args.target.Row<const float>(first + i);
      const float* w = args.w.Row<const float>(first + i);
      for (int64_t j = 0; j < in; ++j) differences[i * in + j] = target[j] - w[j];
    }
    float* c = args.residual.Row<float>(first);
    std::fill_n(c, rows * in, 0.0f);
    Gemm(context, {.m = rows,
                   .n = in,
                   .k = in,
                   .a = differences.data(),
                   .a_row = in,
                   .a_column = 1,
                   .b = args.hessian.As<float>(),
                   .b_row = in,
                   .c = c,
                   .c_row = in,
                   .alpha = 1.0f,
                   .upper_only = false});
  }
}

void AccumulateProduct(const Context& context, const AccumulateProductArgs& args) {
  Gemm(context, {.m = args.a.shape[0],
                 .n = args.b.shape[1],
                 .k = args.a.shape[1],
                 .a = args.a.As<float>(),
                 .a_row = args.a.stride[0],
                 .a_column = 1,
                 .b = args.b.As<float>(),
                 .b_row = args.b.stride[0],
                 .c = args.c.As<float>(),
                 .c_row = args.c.stride[0],
                 .alpha = args.subtracts ? -1.0f : 1.0f,
                 .upper_only = false});
}

}  // namespace kernels
