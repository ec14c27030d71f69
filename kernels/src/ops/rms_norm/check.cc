#include "core/check.h"
#include "ops/rms_norm/rms_norm.h"

namespace kernels {

void CheckRmsNorm(const RmsNormArgs& args) {
  constexpr const char* kOp = "rmsNorm";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  RequireFloatTensor(kOp, "weight", args.weight, {args.x.shape[1]});
  RequireTensor(kOp, "y", args.y, DType::kF32, {args.x.shape[0], args.x.shape[1]});
}

}  // namespace kernels
