#pragma once

#include "ops/packed_linear/cuda.h"

// Rounding of activations, with the processor's bits (quantize.inl).
namespace kernels::cuda::packed {

// Adding this rounds a float of magnitude below 2^22 to an integer, to even, in its low bits.
constexpr float kRounder = 0x1.8p23f;

// The four places that share a word of an mma's operand, which this lane has rounded: in a unit's
// step lane / 8 the word of lanes 4 g + lane / 2 % 4, of its two the one of lane % 2.
struct LaneCodes {
  uint32_t planes[2];  // lower and upper bytes
  float scale;         // of the block
  int32_t sum;         // of the block's codes
};

// By a warp: a unit of row `row`, zeros beyond the last row or block. `scale` is the row's RmsScale
// where there is a norm.
__device__ __forceinline__ LaneCodes RoundUnit(const Rounding& r, int bits, int64_t row,
                                               int64_t unit, float scale) {
  const int lane = threadIdx.x % kWarpSize;
  const int step = lane / 8;
  const int t = lane / 2 % 4;
  const int half = lane % 2;
  const int64_t block = unit * (kUnitSteps >> r.steps_log2) + (step >> r.steps_log2);
  const int first = (step & ((1 << r.steps_log2) - 1)) * kStepPlaces +
                    (bits == 4 ? 8 * t + half : 16 * half + 4 * t);
  float x[4];
  uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int place = first + (bits == 4 ? 2 * i : i);
    const bool is_place = row < r.rows && block < r.blocks && place < r.block_size;
    int64_t input = block * r.block_size + place;
    if (r.order != nullptr && is_place) input = __ldg(r.order + input);
    const bool is_input = is_place && input >= 0 && input < r.in;
    x[i] = is_input ? __ldg(r.x.Row(row) + input) : 0.0f;
    if (r.norm != nullptr && is_input) x[i] = x[i] * scale * FloatAt(r.norm, r.norm_dtype, input);
    largest = std::max(largest, __float_as_uint(x[i]) & 0x7fffffffu);
  }
  // A block has 8 lanes for each of its steps.
  for (int mask = 4 << r.steps_log2; mask > 0; mask /= 2)
    largest = std::max(largest, __shfl_xor_sync(kAllLanes, largest, mask));
  const bool is_number = largest < 0x7f800000u;
  const float most = __uint_as_float(largest);
  LaneCodes codes{};
  if (is_number && largest != 0) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // Divided first: r.largest / most would overflow for a tiny `most`.
      const float rounded = x[i] / most * r.largest + kRounder;
      const int32_t code = __float_as_int(rounded) - __float_as_int(kRounder);
      codes.sum += code;
      codes.planes[0] |= (static_cast<uint32_t>(code) & 0xffu) << (8 * i);
      codes.planes[1] |= (static_cast<uint32_t>(code + 128) >> 8 & 0xffu) << (8 * i);
    }
  }
  for (int mask = 4 << r.steps_log2; mask > 0; mask /= 2)
    codes.sum += __shfl_xor_sync(kAllLanes, codes.sum, mask);
  codes.scale = is_number ? most / r.largest : QuietNaN();
  return codes;
}

}  // namespace kernels::cuda::packed
