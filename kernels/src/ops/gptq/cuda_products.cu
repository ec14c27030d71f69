#include "ops/gptq/cuda_products.h"

#include <algorithm>

#include "ops/gemm/cuda_gemm.h"
#include "ops/gptq/gptq.h"

// The parts of GPTQ that are matrix products, and sums over rows.
namespace kernels::cuda {

namespace {

constexpr int kTile = 32;
constexpr unsigned kThreads = 256;
// Rows that are multiplied together; bounds the scratch memory.
constexpr int64_t kChunkRows = 2048;

using Tile = float[kTile][kTile + 1];

// to[j][i] = left[i][j], a tile for each block.
__global__ void __launch_bounds__(kThreads)
    TransposeKernel(Difference left, int64_t rows, int64_t depth, Matrix<float> to) {
  SHARED(Tile, tile);
  const int64_t across = CeilDivide(depth, kTile);
  const int64_t first_row = blockIdx.x / across * kTile;
  const int64_t first_column = blockIdx.x % across * kTile;
  const int x = static_cast<int>(threadIdx.x) % kTile;
  const int y = static_cast<int>(threadIdx.x) / kTile;
  constexpr int kStep = kThreads / kTile;
  for (int i = y; i < kTile; i += kStep) {
    if (first_row + i < rows && first_column + x < depth)
      tile[i][x] = left.At(first_row + i, first_column + x);
  }
  __syncthreads();
  for (int j = y; j < kTile; j += kStep) {
    if (first_row + x < rows && first_column + j < depth)
      to.Row(first_column + j)[first_row + x] = tile[x][j];
  }
}

__global__ void __launch_bounds__(kThreads)
    ClearKernel(Matrix<float> to, int64_t rows, int64_t columns) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at < rows * columns) to.Row(at / columns)[at % columns] = 0.0f;
}

void MultiplyChunk(Session& session, const RowsProduct& product, float* transposed) {
  const int64_t rows = product.rows;
  // Rows of 16 bytes each.
  const Matrix<float> left = {transposed, CeilDivide(rows, 4) * 4};
  Launch(session, TransposeKernel,
         {.blocks_x = BlockCount(CeilDivide(rows, kTile) * CeilDivide(product.depth, kTile)),
          .threads = kThreads},
         product.left, rows, product.depth, left);
  if (product.overwrites) {
    Launch(
        session, ClearKernel,
        {.blocks_x = BlockCount(CeilDivide(rows * product.columns, kThreads)), .threads = kThreads},
        product.c, rows, product.columns);
  }
  MultiplyMatrices(session, {.rows = rows,
                             .columns = product.columns,
                             .depth = product.depth,
                             .a = {left.data, left.stride},
                             .b = product.right,
                             .c = product.c,
                             .alpha = product.alpha});
}

int64_t TransposedFloats(int64_t rows, int64_t depth) {
  return CeilDivide(std::min(rows, kChunkRows), 4) * 4 * depth;
}

void MultiplyChunks(Session& session, const RowsProduct& product, float* transposed) {
  for (int64_t first = 0; first < product.rows; first += kChunkRows) {
    RowsProduct chunk = product;
    chunk.rows = std::min(kChunkRows, product.rows - first);
    chunk.left = product.left.From(first);
    chunk.c.data += first * product.c.stride;
    MultiplyChunk(session, chunk, transposed);
  }
}

void RunTrailingUpdate(Session& session, const TrailingUpdateArgs& args) {
  const int64_t end = args.begin + args.error.shape[1];
  Matrix<const float> factor = MatrixOf<const float>(args.factor);
  factor.data += args.begin * factor.stride + end;
  Matrix<float> w = MatrixOf<float>(args.w);
  w.data += end;
  MultiplyRows(session, {.rows = args.w.shape[0],
                         .columns = args.w.shape[1] - end,
                         .depth = args.error.shape[1],
                         .left = {MatrixOf<const float>(args.error), {}},
                         .right = factor,
                         .c = w,
                         .alpha = -1.0f,
                         .overwrites = false});
}

const Operation<TrailingUpdateArgs, RunTrailingUpdate> trailing_update("trailingUpdate");

// y[row] = left's row times that of `right`, a block for each.
__global__ void __launch_bounds__(kThreads)
    DotKernel(Difference left, Matrix<const float> right, int64_t n, float* y) {
  const int64_t row = blockIdx.x;
  double sum = 0;
  for (int64_t j = threadIdx.x; j < n; j += kThreads)
    sum += double{left.At(row, j)} * double{right.Row(row)[j]};
  sum = BlockSum(sum);
  if (threadIdx.x == 0) y[row] = static_cast<float>(sum);
}

void RunQuadraticForm(Session& session, const QuadraticFormArgs& args) {
  const int64_t out = args.a.shape[0];
  const int64_t in = args.a.shape[1];
  const int64_t most = std::min(out, kChunkRows);
  const int64_t transposed = TransposedFloats(out, in);
  float* scratch = session.Scratch<float>(transposed + most * in);
  const Difference difference = DifferenceOf(args.a, args.b);
  const Matrix<float> products = {scratch + transposed, in};
  for (int64_t first = 0; first < out; first += kChunkRows) {
    const int64_t rows = std::min(kChunkRows, out - first);
    const Difference left = difference.From(first);
    MultiplyChunk(session,
                  {.rows = rows,
                   .columns = in,
                   .depth = in,
                   .left = left,
                   .right = MatrixOf<const float>(args.hessian),
                   .c = products,
                   .alpha = 1.0f,
                   .overwrites = true},
                  scratch);
    Launch(session, DotKernel, {.blocks_x = BlockCount(rows), .threads = kThreads}, left,
           Matrix<const float>{products.data, in}, in, args.y.As<float>() + first);
  }
}

const Operation<QuadraticFormArgs, RunQuadraticForm> quadratic_form("quadraticForm");

__global__ void __launch_bounds__(kThreads)
    AccumulateSquaresKernel(Difference of, int64_t n, float* y) {
  const int64_t row = blockIdx.x;
  double sum = 0;
  for (int64_t j = threadIdx.x; j < n; j += kThreads) {
    const double value = of.At(row, j);
    sum += value * value;
  }
  sum = BlockSum(sum);
  if (threadIdx.x == 0) y[row] = static_cast<float>(double{y[row]} + sum);
}

void RunAccumulateSquares(Session& session, const AccumulateSquaresArgs& args) {
  Launch(session, AccumulateSquaresKernel,
         {.blocks_x = BlockCount(args.a.shape[0]), .threads = kThreads},
         DifferenceOf(args.a, args.b), args.a.shape[1], args.y.As<float>());
}

const Operation<AccumulateSquaresArgs, RunAccumulateSquares> accumulate_squares(
    "accumulateSquares");

}  // namespace

void MultiplyRows(Session& session, const RowsProduct& product) {
  MultiplyChunks(session, product,
                 session.Scratch<float>(TransposedFloats(product.rows, product.depth)));
}

}  // namespace kernels::cuda
