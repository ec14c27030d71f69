#include "core/check.h"
#include "ops/cache_quantization/cache_quantization.h"

namespace kernels {

namespace {

void RequireHeads(const char* op, const Tensor& codes, const Tensor& scale) {
  const int64_t heads = scale.rank == 2 ? scale.shape[1] : 0;
  Require(heads > 0 && codes.shape[1] > 0 && codes.shape[1] % heads == 0, Code::kShape, op,
          "codes are " + Describe(codes) + " and scale " + Describe(scale) +
              "; expected a scale for each row and head, and heads of one width");
}

}  // namespace

void CheckQuantizeCache(const QuantizeCacheArgs& args) {
  constexpr const char* kOp = "quantizeCache";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  RequireDense(kOp, "codes", args.codes, DType::kU8, {args.x.shape[0], args.x.shape[1]});
  RequireDense(kOp, "scale", args.scale, DType::kF32, {args.x.shape[0], kAny});
  RequireHeads(kOp, args.codes, args.scale);
  RequireDense(kOp, "zero", args.zero, DType::kF32, {args.x.shape[0], args.scale.shape[1]});
}

void CheckDequantizeCache(const DequantizeCacheArgs& args) {
  constexpr const char* kOp = "dequantizeCache";
  RequireTensor(kOp, "codes", args.codes, DType::kU8, {kAny, kAny});
  RequireTensor(kOp, "scale", args.scale, DType::kF32, {args.codes.shape[0], kAny});
  RequireHeads(kOp, args.codes, args.scale);
  RequireTensor(kOp, "zero", args.zero, DType::kF32, {args.codes.shape[0], args.scale.shape[1]});
  RequireDense(kOp, "y", args.y, DType::kF32, {args.codes.shape[0], args.codes.shape[1]});
}

}  // namespace kernels
