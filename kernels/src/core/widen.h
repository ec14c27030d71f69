#pragma once

#include "core/tensor.h"

namespace kernels {

// `count` elements of a float tensor of any dtype, starting `offset` elements in, as f32 (exact).
inline void Widen(const Tensor& tensor, int64_t offset, int64_t count, float* out) {
  const auto copy = [&](const auto* from) {
    for (int64_t i = 0; i < count; ++i) out[i] = ToFloat(from[i]);
  };
  switch (tensor.dtype) {
    case DType::kF16:
      return copy(tensor.As<F16>() + offset);
    case DType::kBF16:
      return copy(tensor.As<BF16>() + offset);
    default:
      return copy(tensor.As<float>() + offset);
  }
}

}  // namespace kernels
