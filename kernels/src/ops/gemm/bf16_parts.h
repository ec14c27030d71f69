#pragma once

#include "cuda/tensor_core.h"

// Products of f32 on tensor cores that multiply bf16 and add in f32. A value is the exact sum of up
// to three bf16 (8 + 8 + 8 bits), so x w is the sum of the products of their parts, each exact;
// those below 2^-24 |x w| are left out (Henry, Tang and Heinecke, "Leveraging the bfloat16
// Artificial Intelligence Datatype For Higher-Precision Computations", 2019).
//
// Tensor cores cut off what does not fit a sum instead of rounding it (Fasi, Higham, Mikaitis and
// Pranesh, "Numerical behavior of NVIDIA tensor cores", 2021), so sums on them are kept short: a
// chain of products over at most kChain inputs begins at zero, and ordinary additions, in the order
// of the inputs, add the chains up.
namespace kernels::cuda {

// Inputs of a chain.
constexpr int64_t kChain = 128;
// Inputs of one step: four lanes hold 8 of a row each, 16 bytes of bf16.
constexpr int kStep = 32;
constexpr int kLaneInputs = 8;

// The nearest bf16, ties away from zero, in the upper half of a word; `rest` becomes what it lacks.
// Only for values below the largest bf16 by half a step.
__device__ __forceinline__ uint32_t TakePart(float& rest) {
  const uint32_t part = (__float_as_uint(rest) + 0x8000u) & 0xffff0000u;
  rest -= __uint_as_float(part);
  return part;
}

// The same for any value. Infinity and NaN have no rest; the largest finite values round down.
__device__ __forceinline__ uint32_t TakeFirstPart(float& rest) {
  const uint32_t bits = __float_as_uint(rest);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude < 0x7f7f8000u) return TakePart(rest);
  const uint32_t part = (bits & 0xffff0000u) | (magnitude > 0x7f800000u ? 0x00400000u : 0u);
  rest = magnitude < 0x7f800000u ? rest - __uint_as_float(part) : 0.0f;
  return part;
}

// Two neighbouring inputs as words of bf16 pairs, one for each part; the last part takes all that
// is left, which is exact with 3 parts of an f32, 2 of an f16 and 1 of a bf16.
template <int kParts>
__device__ __forceinline__ void SplitPair(float first, float second, uint32_t words[kParts]) {
#pragma unroll
  for (int part = 0; part + 1 < kParts; ++part) {
    const uint32_t low = part == 0 ? TakeFirstPart(first) : TakePart(first);
    const uint32_t high = part == 0 ? TakeFirstPart(second) : TakePart(second);
    words[part] = low >> 16 | high;
  }
  words[kParts - 1] = __float_as_uint(first) >> 16 | (__float_as_uint(second) & 0xffff0000u);
}

// kLaneInputs values, value(i), in parts.
template <int kParts, class Value>
__device__ __forceinline__ void SplitLane(uint4 parts[kParts], const Value& value) {
  uint32_t words[4][kParts];
#pragma unroll
  for (int pair = 0; pair < 4; ++pair)
    SplitPair<kParts>(value(2 * pair), value(2 * pair + 1), words[pair]);
#pragma unroll
  for (int part = 0; part < kParts; ++part)
    parts[part] = {words[0][part], words[1][part], words[2][part], words[3][part]};
}

// Adds to 16 x 8 sums the products of one part of a with all of b that matter, for kStep inputs of
// which this lane holds inputs 8 t to 8 t + 7 (t = lane % 4) of rows g and g + 8 of a and of row g
// of b. Which of them an instruction takes for which of its inputs is the same on both sides, so
// any assignment will do; this one is the same for every row, however many there are.
template <int kPart, int kPartsB, int kTiles>
__device__ __forceinline__ void MultiplyPart(uint4 low, uint4 high,
                                             const uint4 (&b)[kTiles][kPartsB],
                                             float (&chains)[kTiles][4]) {
  constexpr int kLast = kPartsB - 1 < 2 - kPart ? kPartsB - 1 : 2 - kPart;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint32_t left[4] = {half == 0 ? low.x : low.z, half == 0 ? high.x : high.z,
                              half == 0 ? low.y : low.w, half == 0 ? high.y : high.w};
#pragma unroll
    for (int part = kLast; part >= 0; --part) {  // small products first
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const uint4 words = b[tile][part];
        const uint32_t right[2] = {half == 0 ? words.x : words.z, half == 0 ? words.y : words.w};
        MmaBf16(chains[tile], left, right);
      }
    }
  }
}

// The same for parts kPart to 0 of a; load(part, low, high) gives them.
template <int kPart, int kPartsB, int kTiles, class Load>
__device__ __forceinline__ void MultiplyStep(const Load& load, const uint4 (&b)[kTiles][kPartsB],
                                             float (&chains)[kTiles][4]) {
  uint4 low, high;
  load(kPart, low, high);
  MultiplyPart<kPart>(low, high, b, chains);
  if constexpr (kPart > 0) MultiplyStep<kPart - 1>(load, b, chains);
}

}  // namespace kernels::cuda
