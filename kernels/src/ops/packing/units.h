#pragma once

#include <type_traits>

#include "ops/packing/gptq_weight.h"

// Units of the layout (see gptq_weight.h), with their bits as a constant, so that shifts and counts
// are. Constexpr: CUDA kernels call these too.
namespace kernels {

template <class Body>
void WithBits(int bits, const Body& body) {
  switch (bits) {
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    case 4:
      return body(std::integral_constant<int, 4>());
    default:
      return body(std::integral_constant<int, 8>());
  }
}

// The words of one unit from its codes, whose upper bits do not count.
template <int kBits, class CodeOf>
constexpr void PackUnit(uint32_t (&words)[UnitWords(kBits)], const CodeOf& code_of) {
  for (uint32_t& word : words) word = 0;
  for (int j = 0; j < UnitCodes(kBits); ++j) {
    const uint32_t code = code_of(j) & ((1u << kBits) - 1);
    const int shift = j * kBits % 32;
    words[j * kBits / 32] |= code << shift;
    if (shift + kBits > 32) words[j * kBits / 32 + 1] |= code >> (32 - shift);
  }
}

// The codes of one unit, whose words are `stride` apart, one after another.
template <int kBits, class Put>
constexpr void UnpackUnit(const int32_t* words, int64_t stride, const Put& put) {
  for (int j = 0; j < UnitCodes(kBits); ++j) put(j, CodeAt(words, stride, kBits, j));
}

}  // namespace kernels
