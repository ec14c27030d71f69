#include "ops/gptq/cuda_products.h"

#include "ops/refine/refine.h"

// The parts that are matrix products.
namespace kernels::cuda {

namespace {

void RunResidual(Session& session, const ResidualArgs& args) {
  MultiplyRows(session, {.rows = args.target.shape[0],
                         .columns = args.target.shape[1],
                         .depth = args.target.shape[1],
                         .left = DifferenceOf(args.target, args.w),
                         .right = MatrixOf<const float>(args.hessian),
                         .c = MatrixOf<float>(args.residual),
                         .alpha = 1.0f,
                         .overwrites = true});
}

const Operation<ResidualArgs, RunResidual> residual("residual");

void RunAccumulateProduct(Session& session, const AccumulateProductArgs& args) {
  MultiplyRows(session, {.rows = args.a.shape[0],
                         .columns = args.b.shape[1],
                         .depth = args.a.shape[1],
                         .left = {MatrixOf<const float>(args.a), {}},
                         .right = MatrixOf<const float>(args.b),
                         .c = MatrixOf<float>(args.c),
                         .alpha = args.subtracts ? -1.0f : 1.0f,
                         .overwrites = false});
}

const Operation<AccumulateProductArgs, RunAccumulateProduct> accumulate_product(
    "accumulateProduct");

}  // namespace

}  // namespace kernels::cuda
