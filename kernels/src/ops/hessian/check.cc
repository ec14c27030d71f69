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

void CheckAccumulateCross(const AccumulateCrossArgs& args) {
  const char* op = "accumulateCross";
  RequireTensor(op, "x", args.x, DType::kF32, {kAny, kAny});
  const int64_t rows = args.x.shape[0];
  const int64_t m = args.x.shape[1];
  RequireTensor(op, "original", args.original, DType::kF32, {rows, m});
  RequireTensor(op, "inputs", args.inputs, DType::kF32, {rows, kAny});
  RequireDense(op, "cross", args.cross, DType::kF32, {m, args.inputs.shape[1]});
}

void CheckScaleAndShift(const ScaleAndShiftArgs& args) {
  const char* op = "scaleAndShift";
  RequireDense(op, "matrix", args.matrix, DType::kF32, {kAny, kAny});
  const int64_t n = args.matrix.shape[0];
  if (args.shift != 0.0f) RequireDense(op, "matrix", args.matrix, DType::kF32, {n, n});
}

}  // namespace kernels
