#pragma once

#include "cuda/difference.h"

// Products whose left side has its depth along the rows.
namespace kernels::cuda {

struct RowsProduct {
  int64_t rows, columns, depth;
  Difference left;            // [rows, depth]
  Matrix<const float> right;  // [depth, columns]
  Matrix<float> c;            // [rows, columns]
  float alpha;                // +1 or -1
  bool overwrites;            // c begins as zeros
};
// c += alpha left right; takes the session's scratch memory.
void MultiplyRows(Session& session, const RowsProduct& product);

}  // namespace kernels::cuda
