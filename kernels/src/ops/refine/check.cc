#include <string>

#include "core/check.h"
#include "ops/refine/refine.h"

namespace kernels {

void CheckResidual(const ResidualArgs& args) {
  const char* op = "residual";
  RequireTensor(op, "target", args.target, DType::kF32, {kAny, kAny});
  const int64_t out = args.target.shape[0];
  const int64_t in = args.target.shape[1];
  RequireTensor(op, "w", args.w, DType::kF32, {out, in});
  RequireDense(op, "hessian", args.hessian, DType::kF32, {in, in});
  RequireDense(op, "residual", args.residual, DType::kF32, {out, in});
}

void CheckRefineBlock(const RefineBlockArgs& args) {
  const char* op = "refineBlock";
  RequireTensor(op, "w", args.w, DType::kF32, {kAny, kAny});
  const int64_t out = args.w.shape[0];
  const int64_t in = args.w.shape[1];
  RequireTensor(op, "residual", args.residual, DType::kF32, {out, in});
  RequireDense(op, "hessian", args.hessian, DType::kF32, {in, in});
  Require(args.begin >= 0 && args.begin <= args.end && args.end <= in, Code::kValue, op,
          "columns " + std::to_string(args.begin) + " to " + std::to_string(args.end) +
              " do not lie within the weight's " + std::to_string(in));
  RequireTensor(op, "columnGroup", args.column_group, DType::kI32, {in});
  Require(args.bits >= 2 && args.bits <= 8, Code::kValue, op,
          "bits is " + std::to_string(args.bits) + "; expected 2 to 8");
  Require(
      IsFloat(args.scale_dtype), Code::kDtype, op,
      std::string("scale dtype is ") + DTypeName(args.scale_dtype) + "; expected f32, f16 or bf16");
  Require(args.sweeps >= 0 && args.sweeps <= 1000, Code::kValue, op,
          "sweeps is " + std::to_string(args.sweeps) + "; expected 0 to 1000");
  RequireTensor(op, "scales", args.scales, DType::kF32, {out, kAny});
  RequireTensor(op, "zeros", args.zeros, DType::kI32, {out, args.scales.shape[1]});
  RequireTensor(op, "codes", args.codes, DType::kU8, {out, in});
  RequireDense(op, "change", args.change, DType::kF32, {out, args.end - args.begin});
}

void CheckAccumulateProduct(const AccumulateProductArgs& args) {
  const char* op = "accumulateProduct";
  RequireTensor(op, "a", args.a, DType::kF32, {kAny, kAny});
  RequireTensor(op, "b", args.b, DType::kF32, {args.a.shape[1], kAny});
  RequireTensor(op, "c", args.c, DType::kF32, {args.a.shape[0], args.b.shape[1]});
}

}  // namespace kernels
