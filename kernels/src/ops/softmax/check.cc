#include "core/check.h"
#include "ops/softmax/softmax.h"

namespace kernels {

void CheckLogSoftmax(const LogSoftmaxArgs& args) {
  constexpr const char* kOp = "logSoftmax";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "y", args.y, DType::kF32, {args.x.shape[0], args.x.shape[1]});
}

void CheckPick(const PickArgs& args) {
  constexpr const char* kOp = "pick";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "index", args.index, DType::kI32, {args.x.shape[0]});
  RequireTensor(kOp, "y", args.y, DType::kF32, {args.x.shape[0]});
}

void CheckKlDivergence(const KlDivergenceArgs& args) {
  constexpr const char* kOp = "klDivergence";
  RequireTensor(kOp, "log_p", args.log_p, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "log_q", args.log_q, DType::kF32, {args.log_p.shape[0], args.log_p.shape[1]});
  RequireTensor(kOp, "y", args.y, DType::kF32, {args.log_p.shape[0]});
}

void CheckArgmax(const ArgmaxArgs& args) {
  constexpr const char* kOp = "argmax";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "y", args.y, DType::kI32, {args.x.shape[0]});
  Require(args.limit >= 1 && args.limit <= args.x.shape[1], Code::kValue, kOp,
          "limit is " + std::to_string(args.limit) + "; expected 1 to the width of x, " +
              std::to_string(args.x.shape[1]));
}

}  // namespace kernels
