#pragma once

#include <vector>

#include "core/tensor.h"

namespace kernels {

// Codes are a stream of bits in 32-bit words, from the lowest bits up: with 3 bits, 32 codes take
// three words, and two of them lie across words (AutoGPTQ's layout).
//
// Code `index` of a stream whose words are `stride` apart.
constexpr uint32_t CodeAt(const int32_t* words, int64_t stride, int bits, int64_t index) {
  const int64_t bit = index * bits;
  const int32_t* at = words + bit / 32 * stride;
  const int shift = static_cast<int>(bit % 32);
  const uint32_t low = static_cast<uint32_t>(*at) >> shift;
  const uint32_t high = shift + bits > 32 ? static_cast<uint32_t>(at[stride]) << (32 - shift) : 0;
  return (low | high) & ((1u << bits) - 1);
}

// The fewest codes that fill whole words, and those words.
constexpr int UnitCodes(int bits) {
  return bits == 3 ? 32 : 32 / bits;
}
constexpr int UnitWords(int bits) {
  return bits == 3 ? 3 : 1;
}

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

  // Where bits divide 32.
  int CodesPerWord() const { return 32 / bits; }
  uint32_t MaxCode() const { return (1u << bits) - 1; }
  int64_t Groups() const { return scales.shape[0]; }
  int32_t Zero(int64_t group, int64_t column) const {
    const uint32_t stored = CodeAt(qzeros.Row<const int32_t>(group), 1, bits, column);
    return static_cast<int32_t>((stored + static_cast<uint32_t>(zero_offset)) & MaxCode());
  }
};

// One rounding, and none with 16-bit scales.
constexpr float Dequantized(float scale, int32_t code, int32_t zero) {
  return scale * static_cast<float>(code - zero);
}

template <class Args>
GptqWeight GptqWeightOf(const Args& args) {
  return {args.qweight, args.qzeros,      args.scales,    args.group_index,
          args.bits,    args.zero_offset, args.group_size};
}

// 2, 3, 4 or 8.
void CheckBits(const char* op, int bits);
// 4 or 8: what products are computed with.
void CheckProductBits(const char* op, int bits);
void CheckZeroOffset(const char* op, int zero_offset);

// Guards everything but the content of group_index.
void CheckGptqWeight(const char* op, const GptqWeight& weight, int64_t in, int64_t out);

// The group of each of `in` inputs. Throws kValue, naming the input, where group_index leaves
// [0, groups).
std::vector<int32_t> GroupOfInputs(const char* op, const GptqWeight& weight, int64_t in);

}  // namespace kernels
