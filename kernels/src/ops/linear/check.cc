#include "core/check.h"
#include "ops/linear/linear.h"

namespace kernels {

void CheckLinear(const LinearArgs& args) {
  constexpr const char* kOp = "linear";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  const int64_t rows = args.x.shape[0];
  const int64_t in = args.x.shape[1];
  RequireFloatTensor(kOp, "weight", args.weight, {kAny, in});
  const int64_t out = args.weight.shape[0];
  if (!args.bias.empty()) RequireFloatTensor(kOp, "bias", args.bias, {out});
  RequireTensor(kOp, "y", args.y, DType::kF32, {rows, out});
}

}  // namespace kernels
