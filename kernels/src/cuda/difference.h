#pragma once

#include "cuda/launch.h"

namespace kernels::cuda {

// The matrix a, or a - b where there is a b.
struct Difference {
  Matrix<const float> a;
  Matrix<const float> b;  // data is null where there is none

  __device__ float At(int64_t row, int64_t column) const {
    const float value = a.Row(row)[column];
    return b.data == nullptr ? value : value - b.Row(row)[column];
  }
  // Its rows from one on.
  Difference From(int64_t row) const {
    Difference rest = *this;
    rest.a.data += row * a.stride;
    if (b.data != nullptr) rest.b.data += row * b.stride;
    return rest;
  }
};

// b may be empty.
inline Difference DifferenceOf(const Tensor& a, const Tensor& b) {
  Difference difference = {MatrixOf<const float>(a), {}};
  if (!b.empty()) difference.b = MatrixOf<const float>(b);
  return difference;
}

}  // namespace kernels::cuda
