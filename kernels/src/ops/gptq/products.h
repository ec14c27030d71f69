#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// Rows multiplied together; bounds the memory of their differences.
constexpr int64_t kDifferenceRows = 192;

// Rows [first, first + rows) of a - b, or of a where b is empty.
struct DifferenceRows {
  const Tensor& a;  // [out, in] f32
  const Tensor& b;
  int64_t first, rows;
};

// differences = those rows, products = differences hessian; both [rows, in], dense.
void MultiplyDifference(const Context& context, const DifferenceRows& of, const Tensor& hessian,
                        float* differences, float* products);

}  // namespace kernels
