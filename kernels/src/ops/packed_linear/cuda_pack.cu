#include "cuda/launch.h"
#include "ops/packed_linear/packed_linear.h"
#include "ops/packing/gptq_weight.h"

// packLinear: once, at load. A thread makes one word, or one scale and one zero.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;

const int32_t kOrderFault = RegisterFault("packLinear: order");
const int32_t kGroupFault = RegisterFault("packLinear: block_group");

struct Packing {
  Matrix<const int32_t> qweight, qzeros;
  const int32_t* order;  // or null
  const int32_t* block_group;
  int stored_bits, zero_offset, bits;
  int64_t in, out, groups, blocks;
};

__global__ void PackWordsKernel(Packing p, int64_t line_count, int32_t* words, int64_t count,
                                FaultSink faults) {
  const int64_t index = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (index >= count) return;
  const int64_t line = index / kPackedOutputs % line_count;
  const int64_t output =
      index / kPackedOutputs / line_count * kPackedOutputs + index % kPackedOutputs;
  const int codes = 32 / p.bits;
  uint32_t word = 0;
  for (int j = 0; j < codes && output < p.out; ++j) {
    const int64_t place = line * codes + j;
    const int64_t input = p.order == nullptr ? place : p.order[place];
    if (p.order != nullptr && (input < -1 || input >= p.in)) {
      faults.Report(place, input, -1, p.in);
    }
    if (input < 0 || input >= p.in) continue;
    word |= CodeAt(p.qweight.data + output, p.qweight.stride, p.stored_bits, input) << (j * p.bits);
  }
  words[index] = static_cast<int32_t>(word);
}

// T is an integer as wide as a scale.
template <class T>
__global__ void PackGridKernel(Packing p, Matrix<const T> stored, T* scales, uint8_t* zeros,
                               int64_t count, FaultSink faults) {
  const int64_t index = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (index >= count) return;
  const int64_t block = index / kPackedOutputs % p.blocks;
  const int64_t output =
      index / kPackedOutputs / p.blocks * kPackedOutputs + index % kPackedOutputs;
  const int64_t group = p.block_group[block];
  const bool exists = group >= 0 && group < p.groups;
  if (!exists) faults.Report(block, group, 0, p.groups);
  T scale = 0;
  uint32_t zero = 0;
  if (exists && output < p.out) {
    scale = stored.Row(group)[output];
    const uint32_t code = CodeAt(p.qzeros.Row(group), 1, p.stored_bits, output);
    zero = (code + static_cast<uint32_t>(p.zero_offset)) & ((1u << p.stored_bits) - 1);
  }
  scales[index] = scale;
  if (zeros != nullptr) zeros[index] = static_cast<uint8_t>(zero);
}

template <class T>
void PackGrid(Session& session, const PackLinearArgs& args, const Packing& packing) {
  const int64_t count = args.packed.scales.elements();
  Launch(session, PackGridKernel<T>,
         {.blocks_x = BlockCount(CeilDivide(count, kThreads)), .threads = kThreads}, packing,
         MatrixOf<const T>(args.scales), args.packed.scales.As<T>(),
         args.packed.zeros.As<uint8_t>(), count, FaultSink{session.faults(), kGroupFault});
}

void RunPackLinear(Session& session, const PackLinearArgs& args) {
  const PackedWeight& packed = args.packed;
  const Packing packing{MatrixOf<const int32_t>(args.qweight),
                        MatrixOf<const int32_t>(args.qzeros),
                        args.order.As<const int32_t>(),
                        args.block_group.As<const int32_t>(),
                        args.stored_bits,
                        args.zero_offset,
                        packed.bits,
                        args.qweight.shape[0] * 32 / args.stored_bits,
                        args.qweight.shape[1],
                        args.scales.shape[0],
                        packed.Blocks()};
  const int64_t count = packed.words.elements();
  Launch(session, PackWordsKernel,
         {.blocks_x = BlockCount(CeilDivide(count, kThreads)), .threads = kThreads}, packing,
         packed.words.shape[1], packed.words.As<int32_t>(), count,
         FaultSink{session.faults(), kOrderFault});
  if (packed.scales.dtype == DType::kF32) return PackGrid<uint32_t>(session, args, packing);
  PackGrid<uint16_t>(session, args, packing);
}

const Operation<PackLinearArgs, RunPackLinear> operation("packLinear");

}  // namespace

}  // namespace kernels::cuda
