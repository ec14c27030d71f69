#include "core/check.h"
#include "ops/elementwise/elementwise.h"

namespace kernels {

namespace {

bool SameShape(const Tensor& a, const Tensor& b) {
  if (a.empty() || b.empty() || a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; ++i) {
    if (a.shape[i] != b.shape[i]) return false;
  }
  return true;
}

}  // namespace

void CheckAdd(const AddArgs& args) {
  constexpr const char* kOp = "add";
  RequireTensor(kOp, "a", args.a, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "b", args.b, DType::kF32, {args.a.shape[0], args.a.shape[1]});
  RequireTensor(kOp, "y", args.y, DType::kF32, {args.a.shape[0], args.a.shape[1]});
}

void CheckSwiglu(const SwigluArgs& args) {
  constexpr const char* kOp = "swiglu";
  RequireTensor(kOp, "up", args.up, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "gate", args.gate, DType::kF32, {args.up.shape[0], args.up.shape[1]});
  RequireTensor(kOp, "y", args.y, DType::kF32, {args.up.shape[0], args.up.shape[1]});
}

void CheckCast(const CastArgs& args) {
  constexpr const char* kOp = "cast";
  Require(SameShape(args.x, args.y), Code::kShape, kOp,
          "x is " + Describe(args.x) + " and y " + Describe(args.y) + "; expected equal shapes");
  Require(args.x.contiguous() && args.y.contiguous(), Code::kShape, kOp,
          "x and y must be contiguous");
  Require(IsFloat(args.x.dtype) && IsFloat(args.y.dtype), Code::kDtype, kOp,
          "x is " + Describe(args.x) + " and y " + Describe(args.y) +
              "; expected f32, f16 or bf16 for both");
  RequireTensor(kOp, "counts", args.counts, DType::kI32, {2});
}

void CheckCopy(const CopyArgs& args) {
  constexpr const char* kOp = "copy";
  RequireTensor(kOp, "x", args.x, args.x.dtype, {kAny, kAny});
  RequireDense(kOp, "y", args.y, args.x.dtype, {args.x.shape[0], args.x.shape[1]});
}

void CheckCountNonFinite(const CountNonFiniteArgs& args) {
  constexpr const char* kOp = "countNonFinite";
  RequireFloatTensor(kOp, "x", args.x, {kAny, kAny});
  RequireTensor(kOp, "count", args.count, DType::kI32, {1});
}

}  // namespace kernels
