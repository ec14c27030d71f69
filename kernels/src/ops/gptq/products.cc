// The parts of GPTQ that are matrix products.
#include <algorithm>
#include <vector>

#include "core/rows.h"
#include "ops/gemm/gemm.h"
#include "ops/gptq/gptq.h"
#include "ops/gptq/products.h"

namespace kernels {

namespace {

double Dot(const float* a, const float* b, int64_t n) {
  // Four chains in a fixed order: the sum does not wait for each addition.
  double sums[4] = {};
  int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    for (int lane = 0; lane < 4; ++lane) sums[lane] += double{a[j + lane]} * b[j + lane];
  }
  for (; j < n; ++j) sums[0] += double{a[j]} * b[j];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

void MultiplyDifference(const Context& context, const DifferenceRows& of, const Tensor& hessian,
                        float* differences, float* products) {
  const int64_t in = hessian.shape[0];
  ForRows(context.pool, of.rows, in, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* a = of.a.Row<const float>(of.first + i);
      float* d = differences + i * in;
      if (of.b.empty()) {
        std::copy_n(a, in, d);
        continue;
      }
      const float* b = of.b.Row<const float>(of.first + i);
      for (int64_t j = 0; j < in; ++j) d[j] = a[j] - b[j];
    }
  });
  std::fill_n(products, of.rows * in, 0.0f);
  Gemm(context, {.m = of.rows,
                 .n = in,
                 .k = in,
                 .a = differences,
                 .a_row = in,
                 .a_column = 1,
                 .b = hessian.As<float>(),
                 .b_row = in,
                 .c = products,
                 .c_row = in,
                 .alpha = 1.0f,
                 .upper_only = false});
}

void TrailingUpdate(const Context& context, const TrailingUpdateArgs& args) {
  const int64_t in = args.w.shape[1];
  const int64_t block = args.error.shape[1];
  const int64_t end = args.begin + block;
  if (end == in) return;
  Gemm(context, {.m = args.w.shape[0],
                 .n = in - end,
                 .k = block,
                 .a = args.error.As<float>(),
                 .a_row = args.error.stride[0],
                 .a_column = 1,
                 .b = args.factor.Row<float>(args.begin) + end,
                 .b_row = in,
                 .c = args.w.As<float>() + end,
                 .c_row = args.w.stride[0],
                 .alpha = -1.0f,
                 .upper_only = false});
}

void QuadraticForm(const Context& context, const QuadraticFormArgs& args) {
  const int64_t out = args.a.shape[0];
  const int64_t in = args.a.shape[1];
  const int64_t block = std::min(out, kDifferenceRows);
  std::vector<float> differences(block * in);
  std::vector<float> products(block * in);
  for (int64_t first = 0; first < out; first += block) {
    const int64_t rows = std::min(block, out - first);
    const DifferenceRows difference = {args.a, args.b, first, rows};
    MultiplyDifference(context, difference, args.hessian, differences.data(), products.data());
    for (int64_t i = 0; i < rows; ++i) {
      const double sum = Dot(&differences[i * in], &products[i * in], in);
      args.y.As<float>()[first + i] = static_cast<float>(sum);
    }
  }
}

void AccumulateSquares(const Context& context, const AccumulateSquaresArgs& args) {
  const int64_t n = args.a.shape[1];
  ForRows(context.pool, args.a.shape[0], n, [&](int64_t begin, int64_t end, int) {
    std::vector<float> difference(n);
    for (int64_t row = begin; row < end; ++row) {
      const float* a = args.a.Row<const float>(row);
      if (!args.b.empty()) {
        const float* b = args.b.Row<const float>(row);
        for (int64_t j = 0; j < n; ++j) difference[j] = a[j] - b[j];
        a = difference.data();
      }
      float& y = args.y.As<float>()[row];
      y = static_cast<float>(y + Dot(a, a, n));
    }
  });
}

}  // namespace kernels
