#include <cmath>

#include "core/rows.h"
#include "ops/rms_norm/implementations.h"

namespace kernels::reference {

namespace {

template <class Weight>
void NormRow(const float* x, const Weight* weight, int64_t width, double epsilon, float* y) {
  double sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += double{x[i]} * double{x[i]};
  const double scale = 1 / std::sqrt(sum / static_cast<double>(width) + epsilon);
  for (int64_t i = 0; i < width; ++i) {
    y[i] = static_cast<float>(double{x[i]} * scale * double{ToFloat(weight[i])});
  }
}

template <class Weight>
void NormRows(const Context& context, const RmsNormArgs& args) {
  const int64_t width = args.x.shape[1];
  ForRows(context.pool, args.x.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      NormRow(args.x.Row<float>(r), args.weight.As<Weight>(), width, args.epsilon,
              args.y.Row<float>(r));
    }
  });
}

}  // namespace

void RmsNorm(const Context& context, const RmsNormArgs& args) {
  if (args.weight.dtype == DType::kF32) NormRows<float>(context, args);
  if (args.weight.dtype == DType::kF16) NormRows<F16>(context, args);
  if (args.weight.dtype == DType::kBF16) NormRows<BF16>(context, args);
}

}  // namespace kernels::reference
