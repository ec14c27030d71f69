#include <string>

#include "core/check.h"
#include "ops/head_screen/head_screen.h"

namespace kernels {

void CheckPackRows(const PackRowsArgs& args) {
  constexpr const char* kOp = "packRows";
  RequireFloatTensor(kOp, "weight", args.weight, {kAny, kAny});
  const int64_t out = args.weight.shape[0];
  const int64_t in = args.weight.shape[1];
  const PackedWeight& packed = args.packed;
  Require(packed.bits == 8 && packed.zero == 128 && packed.block_size == kLargestPackedBlock &&
              packed.zeros.empty(),
          Code::kValue, kOp, "the packed weight must be of 8 bits, zero 128 and blocks of 128");
  const int64_t output_blocks = (out + kPackedOutputs - 1) / kPackedOutputs;
  const int64_t blocks = (in + packed.block_size - 1) / packed.block_size;
  RequireDense(kOp, "scales", packed.scales, DType::kBF16, {output_blocks, blocks, kPackedOutputs});
  RequireDense(kOp, "words", packed.words, DType::kI32,
               {output_blocks, blocks * packed.BlockWords(), kPackedOutputs});
  RequireTensor(kOp, "slack", args.slack, DType::kF32, {out});
}

void CheckScreenedArgmax(const ScreenedArgmaxArgs& args) {
  constexpr const char* kOp = "screenedArgmax";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  const int64_t rows = args.x.shape[0];
  RequireFloatTensor(kOp, "weight", args.weight, {kAny, args.x.shape[1]});
  const int64_t out = args.weight.shape[0];
  RequireTensor(kOp, "approx", args.approx, DType::kF32, {rows, out});
  RequireTensor(kOp, "slack", args.slack, DType::kF32, {out});
  RequireTensor(kOp, "y", args.y, DType::kI32, {rows});
  RequireTensor(kOp, "scored", args.scored, DType::kI32, {rows});
  Require(args.limit >= 1 && args.limit <= out, Code::kValue, kOp,
          "limit is " + std::to_string(args.limit) + "; expected 1 to " + std::to_string(out));
}

}  // namespace kernels
