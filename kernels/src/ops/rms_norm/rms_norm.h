#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// y = x / sqrt(mean(x^2) + epsilon) * weight, per row (Zhang and Sennrich, arXiv:1910.07467).
struct RmsNormArgs {
  Tensor x;       // [rows, width] f32
  Tensor weight;  // [width] f32 | f16 | bf16
  float epsilon;
  Tensor y;  // [rows, width] f32, out; may be x
};
void CheckRmsNorm(const RmsNormArgs& args);
void RmsNorm(const Context& context, const RmsNormArgs& args);

}  // namespace kernels
