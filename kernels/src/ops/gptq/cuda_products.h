#pragma once

#include "cuda/launch.h"

// Products whose left side has its depth along the rows.
namespace kernels::cuda {

// The rows of a, or of a - b where b has any.
struct DifferenceOf {
  Matrix<const float> a;
  Matrix<const float> b;  // data may be null

  __device__ float At(int64_t row, int64_t column) const {
    const float value = a.Row(row)[column];
    return b.data == nullptr ? value : value - b.Row(row)[column];
  }
  DifferenceOf From(int64_t row) const {
    DifferenceOf rest = *this;
    rest.a.data += row * a.stride;
    if (b.data != nullptr) rest.b.data += row * b.stride;
    return rest;
  }
};
DifferenceOf DifferenceOfTensors(const Tensor& a, const Tensor& b);

struct RowsProduct {
  int64_t rows, columns, depth;
  DifferenceOf left;          // [rows, depth]
  Matrix<const float> right;  // [depth, columns]
  Matrix<float> c;            // [rows, columns]
  float alpha;                // +1 or -1
  bool overwrites;            // c begins as zeros
};
// c += alpha left right; takes the session's scratch memory.
void MultiplyRows(Session& session, const RowsProduct& product);

}  // namespace kernels::cuda
