#include "core/widen.h"
#include "ops/linear/implementations.h"

namespace kernels {

void LinearReference(const Context& context, const LinearArgs& args) {
  const int64_t rows = args.y.shape[0];
  const int64_t out = args.y.shape[1];
  const int64_t in = args.x.shape[1];
  if (rows == 0) return;
  context.pool.ParallelFor(out, [&](int64_t column, int worker) {
    const size_t bytes = static_cast<size_t>(in + 1) * sizeof(float);
    float* weight = reinterpret_cast<float*>(context.pool.Scratch(worker, bytes));
    Widen(args.weight, column * args.weight.stride[0], in, weight);
    float bias = 0;
    if (!args.bias.empty()) Widen(args.bias, column, 1, &bias);
    for (int64_t row = 0; row < rows; ++row) {
      const float* x = args.x.Row<float>(row);
      double sum = bias;
      for (int64_t i = 0; i < in; ++i) sum += static_cast<double>(x[i]) * weight[i];
      args.y.Row<float>(row)[column] = static_cast<float>(sum);
    }
  });
}

}  // namespace kernels
