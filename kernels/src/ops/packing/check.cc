#include "core/check.h"
#include "ops/packing/gptq_weight.h"
#include "ops/packing/packing.h"

namespace kernels {

namespace {

// Throws unless `extent` values of `bits` bits fill whole words.
void RequireWholeWords(const char* op, const char* name, int64_t extent, int bits) {
  const int64_t unit = UnitCodes(bits);
  Require(extent % unit == 0, Code::kShape, op,
          std::string(name) + " is " + std::to_string(extent) + "; expected a multiple of " +
              std::to_string(unit) + ", the codes that fill whole words");
}

void CheckWeight(const char* op, const Tensor& codes, const Tensor& qweight, int bits) {
  CheckBits(op, bits);
  RequireTensor(op, "codes", codes, DType::kU8, {kAny, kAny});
  const int64_t out = codes.shape[0];
  const int64_t in = codes.shape[1];
  RequireWholeWords(op, "in", in, bits);
  RequireTensor(op, "qweight", qweight, DType::kI32, {in * bits / 32, out});
}

void CheckZeros(const char* op, const Tensor& zeros, const Tensor& qzeros, int bits) {
  CheckBits(op, bits);
  RequireTensor(op, "zeros", zeros, DType::kI32, {kAny, kAny});
  const int64_t out = zeros.shape[0];
  RequireWholeWords(op, "out", out, bits);
  RequireTensor(op, "qzeros", qzeros, DType::kI32, {zeros.shape[1], out * bits / 32});
}

}  // namespace

void CheckPackWeight(const PackWeightArgs& args) {
  CheckWeight("packWeight", args.codes, args.qweight, args.bits);
}

void CheckUnpackWeight(const UnpackWeightArgs& args) {
  CheckWeight("unpackWeight", args.codes, args.qweight, args.bits);
}

void CheckPackZeros(const PackZerosArgs& args) {
  CheckZeros("packZeros", args.zeros, args.qzeros, args.bits);
  CheckZeroOffset("packZeros", args.zero_offset);
}

void CheckUnpackZeros(const UnpackZerosArgs& args) {
  CheckZeros("unpackZeros", args.zeros, args.qzeros, args.bits);
  CheckZeroOffset("unpackZeros", args.zero_offset);
}

void CheckTranspose(const TransposeArgs& args) {
  constexpr const char* kOp = "transpose";
  RequireFloatTensor(kOp, "x", args.x, {kAny, kAny});
  RequireFloatTensor(kOp, "y", args.y, {args.x.shape[1], args.x.shape[0]});
  Require(args.y.contiguous(), Code::kShape, kOp, "y must be contiguous");
}

void CheckDequantize(const DequantizeArgs& args) {
  constexpr const char* kOp = "dequantize";
  RequireTensor(kOp, "y", args.y, DType::kF32, {kAny, kAny});
  CheckGptqWeight(kOp, GptqWeightOf(args), args.y.shape[1], args.y.shape[0]);
}

}  // namespace kernels
