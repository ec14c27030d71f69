#pragma once

#include <vector>

#include "core/tensor.h"

namespace kernels {

// The tensors of a weight in the GPTQ layout (see LinearGptqArgs), with what every reader of the
// layout must agree on.
struct GptqWeight {
  Tensor qweight;
  Tensor qzeros;
  Tensor scales;
  Tensor group_index;
  int bits;
  int zero_offset;
  int64_t group_size;

  int CodesPerWord() const { return 32 / bits; }
  uint32_t MaxCode() const { return (1u << bits) - 1; }
  int64_t Groups() const { return scales.shape[0]; }
  // Code `index` of a run of packed words.
  uint32_t Code(const int32_t* words, int64_t index) const {
    const uint32_t word = static_cast<uint32_t>(words[index / CodesPerWord()]);
    return (word >> (index % CodesPerWord() * bits)) & MaxCode();
  }
  int32_t Zero(int64_t group, int64_t column) const {
    const uint32_t stored = Code(qzeros.Row<const int32_t>(group), column);
    return static_cast<int32_t>((stored + static_cast<uint32_t>(zero_offset)) & MaxCode());
  }
};

// One rounding, and none with 16-bit scales.
inline float Dequantized(float scale, int32_t code, int32_t zero) {
  return scale * static_cast<float>(code - zero);
}

template <class Args>
GptqWeight GptqWeightOf(const Args& args) {
  return {args.qweight, args.qzeros,      args.scales,    args.group_index,
          args.bits,    args.zero_offset, args.group_size};
}

void CheckBits(const char* op, int bits);
void CheckZeroOffset(const char* op, int zero_offset);

// Guards everything but the content of group_index.
void CheckGptqWeight(const char* op, const GptqWeight& weight, int64_t in, int64_t out);

// The group of each of `in` inputs. Throws kValue, naming the input, where group_index leaves
// [0, groups).
std::vector<int32_t> GroupOfInputs(const char* op, const GptqWeight& weight, int64_t in);

}  // namespace kernels
