#include "core/check.h"
#include "ops/hessian/hessian.h"

namespace kernels {

void CheckAccumulateGram(const AccumulateGramArgs& args) {
  const char* op = "accumulateGram";
  RequireTensor(op, "x", args.x, DType::kF32, {kAny, kAny});
  const int64_t n = args.x.shape[1];
  RequireDense(op, "gram", args.gram, DType::kF32, {n, n});
}

void CheckFinishHessian(const FinishHessianArgs& args) {
  const char* op = "finishHessian";
  RequireDense(op, "gram", args.gram, DType::kF32, {kAny, kAny});
  const int64_t n = args.gram.shape[0];
  RequireDense(op, "gram", args.gram, DType::kF32, {n, n});
  RequireTensor(op, "diagonal", args.diagonal, DType::kF32, {n});
}

}  // namespace kernels
