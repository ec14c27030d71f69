#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// y = x weight^T + bias, accumulated in f32. A row of y has the same bits whatever the other rows
// are and however many there are.
struct LinearArgs {
  Tensor x;       // [rows, in] f32
  Tensor weight;  // [out, in] f32 | f16 | bf16
  Tensor bias;    // [out] f32 | f16 | bf16, or empty
  Tensor y;       // [rows, out] f32, out
};
void CheckLinear(const LinearArgs& args);
void Linear(const Context& context, const LinearArgs& args);

}  // namespace kernels
