#include <string>

#include "core/check.h"
#include "ops/packed_linear/packed_linear.h"
#include "ops/packing/gptq_weight.h"

namespace kernels {

namespace {

void CheckBlockSize(const char* op, int64_t block_size) {
  Require(block_size > 0 && block_size % 8 == 0 && block_size <= kLargestPackedBlock, Code::kValue,
          op,
          "block_size is " + std::to_string(block_size) + "; expected a multiple of 8 from 8 to " +
              std::to_string(kLargestPackedBlock));
}

void CheckPacked(const char* op, const PackedWeight& weight) {
  CheckProductBits(op, weight.bits);
  CheckBlockSize(op, weight.block_size);
  Require(weight.zero >= 0 && weight.zero < 1 << weight.bits, Code::kValue, op,
          "zero is " + std::to_string(weight.zero) + "; expected a code of " +
              std::to_string(weight.bits) + " bits");
  Require(IsFloat(weight.scales.dtype), Code::kDtype, op,
          "scales is " + Describe(weight.scales) + "; expected f32, f16 or bf16");
  RequireDense(op, "scales", weight.scales, weight.scales.dtype, {kAny, kAny, kPackedOutputs});
  const int64_t output_blocks = weight.scales.shape[0];
  const int64_t blocks = weight.scales.shape[1];
  RequireDense(op, "words", weight.words, DType::kI32,
               {output_blocks, blocks * weight.BlockWords(), kPackedOutputs});
  if (weight.zeros.empty()) return;
  RequireDense(op, "zeros", weight.zeros, DType::kU8, {output_blocks, blocks, kPackedOutputs});
}

// Without an order, places are inputs; with one, its content is checked when the op runs.
void CheckOrder(const char* op, const Tensor& order, int64_t in, int64_t places) {
  if (!order.empty()) return RequireTensor(op, "order", order, DType::kI32, {places});
  Require(in <= places, Code::kShape, op,
          std::to_string(in) + " inputs do not fit " + std::to_string(places) + " places");
}

}  // namespace

void CheckPackLinear(const PackLinearArgs& args) {
  constexpr const char* kOp = "packLinear";
  const PackedWeight& packed = args.packed;
  CheckPacked(kOp, packed);
  CheckZeroOffset(kOp, args.zero_offset);
  RequireTensor(kOp, "qweight", args.qweight, DType::kI32, {kAny, kAny});
  CheckBits(kOp, args.stored_bits);
  const int bits = args.stored_bits < 4 ? 4 : args.stored_bits;
  Require(packed.bits == bits, Code::kValue, kOp,
          std::to_string(args.stored_bits) + " bits are packed as " + std::to_string(bits) +
              "; bits is " + std::to_string(packed.bits));
  const int64_t in = args.qweight.shape[0] * 32 / args.stored_bits;
  const int64_t out = args.qweight.shape[1];
  Require(packed.OutputBlocks() == (out + kPackedOutputs - 1) / kPackedOutputs, Code::kShape, kOp,
          "words is " + Describe(packed.words) + "; it does not hold " + std::to_string(out) +
              " outputs");
  RequireTensor(kOp, "scales", args.scales, packed.scales.dtype, {kAny, out});
  RequireTensor(kOp, "qzeros", args.qzeros, DType::kI32,
                {args.scales.shape[0], out * args.stored_bits / 32});
  RequireTensor(kOp, "block_group", args.block_group, DType::kI32, {packed.Blocks()});
  CheckOrder(kOp, args.order, in, packed.Blocks() * packed.block_size);
}

void CheckQuantizedLinear(const QuantizedLinearArgs& args) {
  constexpr const char* kOp = "quantizedLinear";
  CheckPacked(kOp, args.weight);
  RequireTensor(kOp, "y", args.y, DType::kF32, {kAny, kAny});
  const int64_t out = args.y.shape[1];
  Require(args.weight.OutputBlocks() == (out + kPackedOutputs - 1) / kPackedOutputs, Code::kShape,
          kOp,
          "y is " + Describe(args.y) + "; words is " + Describe(args.weight.words) +
              " and does not hold as many outputs");
  if (!args.bias.empty()) RequireFloatTensor(kOp, "bias", args.bias, {out});
  if (!args.residual.empty()) {
    RequireTensor(kOp, "residual", args.residual, DType::kF32, {args.y.shape[0], out});
  }
  RequireTensor(kOp, "x", args.x, DType::kF32, {args.y.shape[0], kAny});
  Require(args.activation_bits == 16 || args.activation_bits == 8, Code::kValue, kOp,
          "activation_bits is " + std::to_string(args.activation_bits) + "; expected 16 or 8");
  CheckOrder(kOp, args.order, args.x.shape[1], args.weight.Blocks() * args.weight.block_size);
}

}  // namespace kernels
