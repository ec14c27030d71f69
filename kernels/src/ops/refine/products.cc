// The parts that are matrix products.
#include <algorithm>
#include <vector>

#include "ops/gemm/gemm.h"
#include "ops/gptq/products.h"
#include "ops/refine/refine.h"

namespace kernels {

void Residual(const Context& context, const ResidualArgs& args) {
  const int64_t out = args.target.shape[0];
  const int64_t in = args.target.shape[1];
  std::vector<float> differences(std::min(out, kDifferenceRows) * in);
  for (int64_t first = 0; first < out; first += kDifferenceRows) {
    const DifferenceRows of = {args.target, args.w, first, std::min(kDifferenceRows, out - first)};
    MultiplyDifference(context, of, args.hessian, differences.data(),
                       args.residual.Row<float>(first));
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
