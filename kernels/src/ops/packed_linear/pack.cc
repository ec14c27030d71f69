#include <algorithm>
#include <string>

#include "core/error.h"
#include "ops/packed_linear/packed_linear.h"
#include "ops/packing/gptq_weight.h"

namespace kernels {

namespace {

void RequireIndices(const char* name, const Tensor& index, int64_t lowest, int64_t limit) {
  const int32_t* value = index.As<const int32_t>();
  for (int64_t i = 0; i < index.shape[0]; ++i) {
    if (value[i] >= lowest && value[i] < limit) continue;
    throw Error(Code::kValue, std::string("packLinear: ") + name + "[" + std::to_string(i) +
                                  "] is " + std::to_string(value[i]) + "; expected " +
                                  std::to_string(lowest) + " to " + std::to_string(limit - 1));
  }
}

GptqWeight Stored(const PackLinearArgs& args) {
  return {args.qweight,     args.qzeros,      args.scales,           {},
          args.stored_bits, args.zero_offset, args.packed.block_size};
}

// The words of one block of outputs where places are inputs in order: a copy.
void CopyWords(const PackLinearArgs& args, int64_t first, int64_t count, int32_t* to) {
  const int64_t stored = args.qweight.shape[0];
  const int64_t words = args.packed.words.shape[1];
  for (int64_t w = 0; w < words; ++w, to += kPackedOutputs) {
    std::fill_n(to, kPackedOutputs, 0);
    if (w < stored) std::copy_n(args.qweight.Row<const int32_t>(w) + first, count, to);
  }
}

// The same where places are inputs in any order, or codes become wider.
void GatherWords(const PackLinearArgs& args, int64_t first, int64_t count, int32_t* to) {
  const int bits = args.packed.bits;
  const int per_word = 32 / bits;
  const int64_t in = args.qweight.shape[0] * 32 / args.stored_bits;
  const int64_t stride = args.qweight.stride[0];
  const int32_t* stored = args.qweight.As<const int32_t>() + first;
  const int32_t* order = args.order.empty() ? nullptr : args.order.As<const int32_t>();
  const int64_t words = args.packed.words.shape[1];
  for (int64_t w = 0; w < words; ++w, to += kPackedOutputs) {
    uint32_t gathered[kPackedOutputs] = {};
    for (int j = 0; j < per_word; ++j) {
      const int64_t place = w * per_word + j;
      const int64_t input = order == nullptr ? place : order[place];
      if (input < 0 || input >= in) continue;
      for (int64_t n = 0; n < count; ++n) {
        gathered[n] |= CodeAt(stored + n, stride, args.stored_bits, input) << (j * bits);
      }
    }
    for (int64_t n = 0; n < kPackedOutputs; ++n) to[n] = static_cast<int32_t>(gathered[n]);
  }
}

template <class T>
void PackScales(const PackLinearArgs& args, int64_t output_block) {
  const int64_t first = output_block * kPackedOutputs;
  const int64_t count = std::min(kPackedOutputs, args.qweight.shape[1] - first);
  const int64_t blocks = args.packed.Blocks();
  T* to = args.packed.scales.As<T>() + output_block * blocks * kPackedOutputs;
  for (int64_t b = 0; b < blocks; ++b, to += kPackedOutputs) {
    std::fill_n(to, kPackedOutputs, T{});
    std::copy_n(args.scales.Row<const T>(args.block_group.As<int32_t>()[b]) + first, count, to);
  }
}

void FillZeros(const PackLinearArgs& args, int64_t output_block) {
  const GptqWeight stored = Stored(args);
  const int64_t first = output_block * kPackedOutputs;
  const int64_t count = std::min(kPackedOutputs, args.qweight.shape[1] - first);
  const int64_t blocks = args.packed.Blocks();
  uint8_t* to = args.packed.zeros.As<uint8_t>() + output_block * blocks * kPackedOutputs;
  for (int64_t b = 0; b < blocks; ++b, to += kPackedOutputs) {
    std::fill_n(to, kPackedOutputs, uint8_t{0});
    const int64_t group = args.block_group.As<int32_t>()[b];
    for (int64_t n = 0; n < count; ++n) {
      to[n] = static_cast<uint8_t>(stored.Zero(group, first + n));
    }
  }
}

}  // namespace

void PackLinear(const Context& context, const PackLinearArgs& args) {
  RequireIndices("block_group", args.block_group, 0, args.scales.shape[0]);
  if (!args.order.empty()) {
    RequireIndices("order", args.order, -1, args.qweight.shape[0] * 32 / args.stored_bits);
  }
  const PackedWeight& packed = args.packed;
  context.pool.ParallelFor(packed.OutputBlocks(), [&](int64_t output_block, int) {
    const int64_t first = output_block * kPackedOutputs;
    const int64_t count = std::min(kPackedOutputs, args.qweight.shape[1] - first);
    int32_t* words = packed.words.As<int32_t>() + output_block * packed.words.stride[0];
    if (args.order.empty() && args.stored_bits == packed.bits) {
      CopyWords(args, first, count, words);
    } else {
      GatherWords(args, first, count, words);
    }
    switch (packed.scales.dtype) {
      case DType::kF16:
        PackScales<F16>(args, output_block);
        break;
      case DType::kBF16:
        PackScales<BF16>(args, output_block);
        break;
      default:
        PackScales<float>(args, output_block);
    }
    if (!packed.zeros.empty()) FillZeros(args, output_block);
  });
}

}  // namespace kernels
