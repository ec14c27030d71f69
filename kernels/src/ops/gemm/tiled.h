#pragma once

#include "ops/gemm/gemm.h"

namespace kernels {

// The innermost product: a tile of c that stays in registers while k runs.
struct MicroKernel {
  int rows;
  int columns;
  // c[i, j] += alpha * sum over p < k of a[p * rows + i] * b[p * columns + j], for the
  // `inside_rows` x `inside_columns` elements of the tile that lie inside the matrix. a and b are
  // packed, 64-byte aligned and padded to the full tile.
  void (*run)(int64_t k, const float* a, const float* b, float* c, int64_t c_row, float alpha,
              int inside_rows, int inside_columns);
};

// Cuts c into tiles, gives them to the threads, packs the operands of each and runs the kernel.
void GemmTiled(const Context& context, const GemmArgs& args, const MicroKernel& kernel);

}  // namespace kernels
