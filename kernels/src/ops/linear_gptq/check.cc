#include "core/check.h"
#include "ops/linear_gptq/linear_gptq.h"
#include "ops/packing/gptq_weight.h"

namespace kernels {

void CheckLinearGptq(const LinearGptqArgs& args) {
  constexpr const char* kOp = "linearGptq";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "y", args.y, DType::kF32, {args.x.shape[0], kAny});
  const int64_t out = args.y.shape[1];
  CheckProductBits(kOp, args.bits);
  CheckGptqWeight(kOp, GptqWeightOf(args), args.x.shape[1], out);
  if (!args.bias.empty()) RequireFloatTensor(kOp, "bias", args.bias, {out});
}

}  // namespace kernels
