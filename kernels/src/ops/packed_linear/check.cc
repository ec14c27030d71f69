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

void CheckInput(const char* op, const LinearInput& input, const PackedWeight& weight,
                int64_t rows) {
  RequireTensor(op, "x", input.x, DType::kF32, {rows, kAny});
  if (!input.norm.empty()) RequireFloatTensor(op, "norm", input.norm, {input.x.shape[1]});
  Require(input.activation_bits == 16 || input.activation_bits == 8, Code::kValue, op,
          "activation_bits is " + std::to_string(input.activation_bits) + "; expected 16 or 8");
  CheckOrder(op, input.order, input.x.shape[1], weight.Blocks() * weight.block_size);
}

void CheckBiased(const char* op, const BiasedWeight& linear, const Tensor& y) {
  CheckPacked(op, linear.weight);
  Require(linear.weight.OutputBlocks() == (y.shape[1] + kPackedOutputs - 1) / kPackedOutputs,
          Code::kShape, op,
          "y is " + Describe(y) + "; words is " + Describe(linear.weight.words) +
              " and does not hold as many outputs");
  if (!linear.bias.empty()) RequireFloatTensor(op, "bias", linear.bias, {y.shape[1]});
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
  RequireTensor(kOp, "y", args.y, DType::kF32, {kAny, kAny});
  CheckBiased(kOp, args.linear, args.y);
  if (!args.residual.empty()) {
    RequireTensor(kOp, "residual", args.residual, DType::kF32, {args.y.shape[0], args.y.shape[1]});
  }
  CheckInput(kOp, args.input, args.linear.weight, args.y.shape[0]);
}

void CheckGatedLinear(const GatedLinearArgs& args) {
  constexpr const char* kOp = "gatedLinear";
  RequireTensor(kOp, "y", args.y, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "scratch", args.scratch, DType::kF32, {args.y.shape[0], args.y.shape[1]});
  CheckBiased(kOp, args.up, args.y);
  CheckBiased(kOp, args.gate, args.y);
  const PackedWeight& up = args.up.weight;
  const PackedWeight& gate = args.gate.weight;
  Require(up.bits == gate.bits && up.block_size == gate.block_size && up.Blocks() == gate.Blocks(),
          Code::kShape, kOp,
          "the weights' inputs do not lie alike: words are " + Describe(up.words) + " and " +
              Describe(gate.words));
  CheckInput(kOp, args.input, up, args.y.shape[0]);
}

}  // namespace kernels
