// The factorization and the inversion by blocks, in place in `factor`: diagonal blocks in double by
// triangle.cc, everything else by Gemm.
#include <algorithm>
#include <vector>

#include "ops/cholesky/implementations.h"
#include "ops/gemm/gemm.h"

namespace kernels::blocked {

namespace {

// Width of a block. Diagonal blocks take n / kBlock * kBlock^3 slow operations out of n^3 / 3.
constexpr int64_t kBlock = 128;

struct Factorization {
  const Context& context;
  float* factor;
  int64_t n;
  std::vector<double> diagonal;  // the block being factored
  std::vector<float> square;     // its inverse, or the transpose of it
  std::vector<float> panel;      // the old content of a panel that a product replaces
};

// rows x columns of the matrix at `target` += alpha a b.
struct Product {
  int64_t rows, columns, depth;
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t b_row;
  float* target;
  float alpha;
  bool upper_only = false;
};

void Multiply(const Factorization& f, const Product& product) {
  Gemm(f.context, {.m = product.rows,
                   .n = product.columns,
                   .k = product.depth,
                   .a = product.a,
                   .a_row = product.a_row,
                   .a_column = product.a_column,
                   .b = product.b,
                   .b_row = product.b_row,
                   .c = product.target,
                   .c_row = f.n,
                   .alpha = product.alpha,
                   .upper_only = product.upper_only});
}

// Moves rows x columns at `source` to the workspace, zeros left behind.
void TakePanel(Factorization& f, float* source, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    std::copy_n(source + i * f.n, columns, f.panel.data() + i * columns);
    std::fill_n(source + i * f.n, columns, 0.0f);
  }
}

// Factors the diagonal block at [first, first + size) and leaves its inverse there and, transposed,
// in f.square.
int32_t FactorDiagonal(Factorization& f, int64_t first, int64_t size) {
  float* block = f.factor + first * (f.n + 1);
  double* r = f.diagonal.data();
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = i; j < size; ++j) r[i * size + j] = block[i * f.n + j];
  }
  const int32_t status = FactorUpper(r, size);
  if (status != 0) return static_cast<int32_t>(first) + status;
  InvertUpper(r, size);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < size; ++j) {
      const float value = j < i ? 0.0f : static_cast<float>(r[i * size + j]);
      block[i * f.n + j] = value;
      f.square[j * size + i] = value;
    }
  }
  return 0;
}

// H = R R^T from the last block to the first: R overwrites the upper triangle, except the diagonal
// blocks, which become their own inverses. What is below the diagonal serves as workspace.
int32_t Factor(Factorization& f) {
  const int64_t n = f.n;
  for (int64_t first = (n - 1) / kBlock * kBlock; first >= 0; first -= kBlock) {
    const int64_t size = std::min(kBlock, n - first);
    const int32_t status = FactorDiagonal(f, first, size);
    if (status != 0) return status;
    if (first == 0) break;
    float* panel = f.factor + first;       // rows [0, first), columns of the block
    float* mirror = f.factor + first * n;  // the same, transposed, below the diagonal
    TakePanel(f, panel, first, size);
    // panel = H T^T with T the inverse of the diagonal block.
    Multiply(f, {first, size, size, f.panel.data(), size, 1, f.square.data(), size, panel, 1.0f});
    for (int64_t i = 0; i < first; ++i) {
      for (int64_t j = 0; j < size; ++j) mirror[j * n + i] = panel[i * n + j];
    }
    // What remains: H[0:first, 0:first] -= panel panel^T.
    Multiply(f, {first, first, size, panel, n, 1, mirror, n, f.factor, -1.0f, true});
  }
  return 0;
}

// U = R^-1 in place. Before step k, with U done for the blocks before it, the rows above hold
// -U R; a step turns column k of that into U (multiply by the inverse of the diagonal block T),
// subtracts its effect on the columns to the right, and starts row k.
void Invert(Factorization& f) {
  const int64_t n = f.n;
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t size = std::min(kBlock, n - first);
    const int64_t next = first + size;
    float* diagonal = f.factor + first * (n + 1);
    float* above = f.factor + first;
    float* right = f.factor + first * n + next;
    if (first > 0) {
      TakePanel(f, above, first, size);
      Multiply(f, {first, size, size, f.panel.data(), size, 1, diagonal, n, above, 1.0f});
    }
    if (next == n) break;
    if (first > 0) {
      Multiply(f, {first, n - next, size, above, n, 1, right, n, f.factor + next, -1.0f});
    }
    TakePanel(f, right, size, n - next);
    Multiply(f, {size, n - next, size, diagonal, n, 1, f.panel.data(), n - next, right, -1.0f});
  }
}

}  // namespace

void InverseCholesky(const Context& context, const InverseCholeskyArgs& args) {
  const int64_t n = args.hessian.shape[0];
  Factorization f{context, args.factor.As<float>(), n, {}, {}, {}};
  f.diagonal.resize(kBlock * kBlock);
  f.square.resize(kBlock * kBlock);
  f.panel.resize(kBlock * n);
  const double damping = DampingTerm(args);
  std::copy_n(args.hessian.As<float>(), n * n, f.factor);
  for (int64_t i = 0; i < n; ++i) {
    float& value = f.factor[i * (n + 1)];
    value = static_cast<float>(value + damping);
  }
  const int32_t status = Factor(f);
  *args.status.As<int32_t>() = status;
  if (status != 0) return;
  Invert(f);
  for (int64_t i = 1; i < n; ++i) std::fill_n(f.factor + i * n, i, 0.0f);
}

}  // namespace kernels::blocked
