#include "ops/gemm/products.h"
#include "ops/linear/cuda_out.h"
#include "ops/linear/linear.h"

// Outputs are the rows of the product and rows of x its columns. x is in three bf16 parts; a bf16
// weight is its own part, an f16 has two and an f32 three.
namespace kernels::cuda {

namespace {

void RunLinear(Session& session, const LinearArgs& args) {
  const LinearOut out = LinearOutOf(args.y, args.bias);
  const auto x = RowsOf<float>(args.x);
  WithFloatType(args.weight.dtype,
                [&](auto type) { Multiply(session, RowsOf<decltype(type)>(args.weight), x, out); });
}

const Operation<LinearArgs, RunLinear> operation("linear");

}  // namespace

}  // namespace kernels::cuda
