#include "core/check.h"
#include "ops/sampling/sampling.h"

namespace kernels {

void CheckSample(const SampleArgs& args) {
  constexpr const char* kOp = "sample";
  RequireTensor(kOp, "logits", args.logits, DType::kF32, {kAny, kAny});
  const int64_t rows = args.logits.shape[0];
  RequireDense(kOp, "options", args.options, DType::kI64, {rows, kSamplingOptions});
  RequireTensor(kOp, "seen_begin", args.seen_begin, DType::kI32, {rows + 1});
  RequireTensor(kOp, "seen_ids", args.seen_ids, DType::kI32, {kAny});
  RequireTensor(kOp, "seen_times", args.seen_times, DType::kI32, {args.seen_ids.shape[0]});
  RequireTensor(kOp, "y", args.y, DType::kI32, {rows});
  Require(args.limit >= 1 && args.limit <= args.logits.shape[1], Code::kValue, kOp,
          "limit is " + std::to_string(args.limit) + "; expected 1 to the width of the logits, " +
              std::to_string(args.logits.shape[1]));
}

}  // namespace kernels
