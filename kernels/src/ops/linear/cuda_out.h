#pragma once

#include "ops/gemm/operands.h"

namespace kernels::cuda {

// y[row, output] = total + bias[output].
struct LinearOut {
  Matrix<float> y;
  const void* bias;  // or null
  DType bias_type;

  __device__ __forceinline__ void Write(int64_t output, int64_t row, float total) const {
    float* to = y.Row(row) + output;
    if (bias == nullptr) {
      *to = total;
    } else if (bias_type == DType::kF32) {
      *to = total + static_cast<const float*>(bias)[output];
    } else if (bias_type == DType::kF16) {
      *to = total + Widen(static_cast<const F16*>(bias)[output]);
    } else {
      *to = total + Widen(static_cast<const BF16*>(bias)[output]);
    }
  }
};

inline LinearOut LinearOutOf(const Tensor& y, const Tensor& bias) {
  return {MatrixOf<float>(y), bias.data, bias.dtype};
}

}  // namespace kernels::cuda
