#include <bit>

#include "ops/linear/cuda_out.h"
#include "ops/linear_gptq/cuda_operands.h"

namespace kernels::cuda {

namespace {

const int32_t group_fault = RegisterFault("linearGptq: group_index");

int GroupShift(const LinearGptqArgs& args) {
  if (args.group_size >= args.x.shape[1]) return 62;
  const auto size = static_cast<uint64_t>(args.group_size);
  return std::has_single_bit(size) ? std::countr_zero(size) : -1;
}

template <int kBits>
GptqOperand<kBits> OperandOf(Session& session, const LinearGptqArgs& args) {
  GptqOperand<kBits> operand;
  operand.words = MatrixOf<const uint32_t>(args.qweight);
  operand.zeros = MatrixOf<const uint32_t>(args.qzeros);
  operand.scales = args.scales.data;
  operand.scale_stride = args.scales.stride[0];
  operand.scale_type = args.scales.dtype;
  operand.group_index = args.group_index.As<const int32_t>();
  operand.group_size = args.group_size;
  operand.groups = args.scales.shape[0];
  operand.group_shift = GroupShift(args);
  operand.zero_offset = static_cast<uint32_t>(args.zero_offset);
  operand.rows = args.y.shape[1];
  operand.depth = args.x.shape[1];
  operand.faults = {session.faults(), group_fault};
  return operand;
}

// Whether chains and groups have common ends.
bool ChainsHaveOneGroup(const LinearGptqArgs& args) {
  if (!args.group_index.empty()) return false;
  if (args.group_size >= args.x.shape[1]) return true;
  if (args.group_size >= kChain) return args.group_size % kChain == 0;
  return args.group_size % kStep == 0 && kChain % args.group_size == 0;
}

template <int kBits>
void RunBits(Session& session, const LinearGptqArgs& args) {
  const GptqOperand<kBits> operand = OperandOf<kBits>(session, args);
  const auto x = RowsOf<float>(args.x);
  const LinearOut out = LinearOutOf(args.y, args.bias);
  if (ChainsHaveOneGroup(args)) {
    Multiply(session, GptqCodes<kBits>{operand}, x, out);
  } else {
    Multiply(session, GptqValues<kBits>{operand, {}}, x, out);
  }
}

void RunLinearGptq(Session& session, const LinearGptqArgs& args) {
  if (args.bits == 4) return RunBits<4>(session, args);
  RunBits<8>(session, args);
}

const Operation<LinearGptqArgs, RunLinearGptq> operation("linearGptq");

}  // namespace

}  // namespace kernels::cuda
