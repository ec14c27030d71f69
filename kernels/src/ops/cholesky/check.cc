#include "core/check.h"
#include "ops/cholesky/cholesky.h"

namespace kernels {

void CheckInverseCholesky(const InverseCholeskyArgs& args) {
  const char* op = "inverseCholesky";
  RequireDense(op, "hessian", args.hessian, DType::kF32, {kAny, kAny});
  const int64_t n = args.hessian.shape[0];
  RequireDense(op, "hessian", args.hessian, DType::kF32, {n, n});
  RequireDense(op, "factor", args.factor, DType::kF32, {n, n});
  RequireDense(op, "status", args.status, DType::kI32, {1});
}

}  // namespace kernels
