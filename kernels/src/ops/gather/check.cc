#include "core/check.h"
#include "ops/gather/gather.h"

namespace kernels {

void CheckGatherRows(const GatherRowsArgs& args) {
  constexpr const char* kOp = "gatherRows";
  RequireTensor(kOp, "x", args.x, args.x.dtype, {kAny, kAny});
  RequireTensor(kOp, "index", args.index, DType::kI32, {kAny});
  RequireDense(kOp, "y", args.y, args.x.dtype, {args.index.shape[0], args.x.shape[1]});
}

void CheckGatherColumns(const GatherColumnsArgs& args) {
  constexpr const char* kOp = "gatherColumns";
  RequireTensor(kOp, "x", args.x, args.x.dtype, {kAny, kAny});
  Require(args.x.dtype == DType::kF32 || args.x.dtype == DType::kU8, Code::kDtype, kOp,
          "x is " + Describe(args.x) + "; expected f32 or u8");
  RequireTensor(kOp, "index", args.index, DType::kI32, {kAny});
  RequireDense(kOp, "y", args.y, args.x.dtype, {args.x.shape[0], args.index.shape[0]});
}

void CheckZeroColumns(const ZeroColumnsArgs& args) {
  constexpr const char* kOp = "zeroColumns";
  RequireTensor(kOp, "w", args.w, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "diagonal", args.diagonal, DType::kF32, {args.w.shape[1]});
}

}  // namespace kernels
