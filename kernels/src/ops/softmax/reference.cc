#include <bit>
#include <cmath>

#include "core/rows.h"
#include "ops/softmax/implementations.h"

namespace kernels::reference {

void LogSoftmax(const Context& context, const LogSoftmaxArgs& args) {
  const int64_t width = args.x.shape[1];
  ForRows(context.pool, args.x.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = args.x.Row<float>(r);
      float* y = args.y.Row<float>(r);
      double largest = -INFINITY;
      for (int64_t i = 0; i < width; ++i) largest = x[i] > largest ? double{x[i]} : largest;
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += std::exp(double{x[i]} - largest);
      const double log_sum = largest + std::log(sum);
      for (int64_t i = 0; i < width; ++i) y[i] = static_cast<float>(double{x[i]} - log_sum);
    }
  });
}

void KlDivergence(const Context& context, const KlDivergenceArgs& args) {
  const int64_t width = args.log_p.shape[1];
  ForRows(context.pool, args.log_p.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* log_p = args.log_p.Row<float>(r);
      const float* log_q = args.log_q.Row<float>(r);
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) {
        // A probability that f32 cannot represent contributes nothing, even against q = 0.
        const double p = std::exp(double{log_p[i]});
        if (static_cast<float>(p) == 0) continue;
        sum += p * (double{log_p[i]} - double{log_q[i]});
      }
      args.y.As<float>()[r] = static_cast<float>(sum);
    }
  });
}

}  // namespace kernels::reference
