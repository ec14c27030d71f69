#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// y = x W^T + bias with W[o, i] = scales[g, o] * (q[i, o] - z[g, o]), g = group of input i: a
// linear over a checkpoint in the GPTQ layout, as stored. Codes are unsigned; z = (stored zero +
// zero_offset) masked to `bits`. W is exact in f32; accumulation is f32. A row of y has the same
// bits whatever the other rows are and however many there are.
struct LinearGptqArgs {
  Tensor x;            // [rows, in] f32
  Tensor qweight;      // [in * bits / 32, out] i32, lowest bits first
  Tensor qzeros;       // [groups, out * bits / 32] i32, lowest bits first
  Tensor scales;       // [groups, out] f16 | bf16 | f32
  Tensor group_index;  // [in] i32, group of each input; or empty: i / group_size
  Tensor bias;         // [out] f32 | f16 | bf16, or empty
  int bits;            // 4 | 8
  int zero_offset;     // 1 for the v1 layout, 0 for gptq_v2
  int64_t group_size;  // inputs per group
  Tensor y;            // [rows, out] f32, out
};
void CheckLinearGptq(const LinearGptqArgs& args);
void LinearGptq(const Context& context, const LinearGptqArgs& args);

}  // namespace kernels
