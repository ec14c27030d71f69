#include <algorithm>

#include "cuda/rows.h"
#include "ops/cholesky/cholesky.h"
#include "ops/cholesky/cuda_cusolver.h"
#include "ops/cholesky/cuda_diagonal.h"
#include "ops/gemm/cuda_gemm.h"

// The blocked implementation (blocked.cc) with its steps as kernels, in place in `factor`: diagonal
// blocks in double, everything else in f32. Panels are also written transposed to scratch memory,
// as products want them. Where a pivot has been refused, the kernels that follow do nothing.
namespace kernels::cuda {

namespace {

constexpr int64_t kBlock = kCholeskyBlock;
constexpr unsigned kThreads = 256;

__global__ void DampingKernel(const float* hessian, int64_t n, float damping, double* term,
                              int32_t* status) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += hessian[i * (n + 1)];
  sum = BlockSum(sum);
  if (threadIdx.x != 0) return;
  *status = 0;
  *term = n == 0 ? 0.0 : damping * (sum / static_cast<double>(n));
}

__global__ void CopyDampedKernel(const float* hessian, int64_t n, const double* term,
                                 float* factor) {
  const auto [i, j] = FirstElement<1>(n);
  if (j >= n) return;
  float value = j < i ? 0.0f : hessian[i * n + j];
  if (i == j) value = static_cast<float>(value + *term);
  factor[i * n + j] = value;
}

// Factors the diagonal block at [first, first + size) and leaves its inverse there.
__global__ void __launch_bounds__(DiagonalBlock::kThreads)
    FactorDiagonalKernel(float* factor, int64_t n, int64_t first, int size, int32_t* status) {
  SHARED(DiagonalBlock::Steps, steps);
  if (*status != 0) return;
  float* at = factor + first * (n + 1);
  DiagonalBlock block;
  block.Load(at, n, size);
  const int refused = block.Factor(size, steps);
  if (refused != 0) {
    if (threadIdx.x == 0) *status = static_cast<int32_t>(first + refused);
    return;
  }
  block.Invert(size, steps);
  block.Store(at, n, size);
}

using Square = float[kBlock][kBlock + 1];

// A part of a matrix, at most kBlock x kBlock.
struct Part {
  float* data;
  int64_t stride;
  int64_t rows, columns;
};

__device__ void LoadSquare(const Part& part, bool transposes, Square& square) {
  for (int i = static_cast<int>(threadIdx.x); i < kBlock * kBlock; i += kThreads) {
    const int row = i / kBlock;
    const int column = i % kBlock;
    const bool is_inside = row < part.rows && column < part.columns;
    const float value = is_inside ? part.data[row * part.stride + column] : 0.0f;
    (transposes ? square[column][row] : square[row][column]) = value;
  }
}

// left = alpha left right.
__device__ void MultiplySquares(Square& left, const Square& right, float alpha) {
  constexpr int kPer = kBlock / 16;
  const int y = static_cast<int>(threadIdx.x) / 16;
  const int x = static_cast<int>(threadIdx.x) % 16;
  float sums[kPer][kPer] = {};
  for (int k = 0; k < kBlock; ++k) {
    for (int i = 0; i < kPer; ++i) {
      for (int j = 0; j < kPer; ++j) {
        sums[i][j] = __fmaf_rn(left[y + 16 * i][k], right[k][x + 16 * j], sums[i][j]);
      }
    }
  }
  __syncthreads();
  for (int i = 0; i < kPer; ++i) {
    for (int j = 0; j < kPer; ++j) left[y + 16 * i][x + 16 * j] = alpha * sums[i][j];
  }
}

__device__ void StoreSquare(const Square& square, const Part& part, bool transposes) {
  for (int i = static_cast<int>(threadIdx.x); i < kBlock * kBlock; i += kThreads) {
    const int row = i / kBlock;
    const int column = i % kBlock;
    if (row >= part.rows || column >= part.columns) continue;
    part.data[row * part.stride + column] = transposes ? square[column][row] : square[row][column];
  }
}

enum class Side : uint8_t { kColumnsByTransposed, kColumns, kRows };

// What is above a diagonal block times its inverse T (or T^T), also to `mirror` transposed; or what
// is right of it by -T from the left.
template <Side side>
__global__ void __launch_bounds__(kThreads)
    MultiplyPanelKernel(float* factor, int64_t n, int64_t first, int64_t size, Matrix<float> mirror,
                        const int32_t* status) {
  SHARED(Square, left);
  SHARED(Square, right);
  if (*status != 0) return;
  const Part inverse{factor + first * (n + 1), n, size, size};
  const int64_t at = int64_t{blockIdx.x} * kBlock;
  if constexpr (side == Side::kRows) {
    const int64_t column = first + size + at;
    const Part panel{factor + first * n + column, n, size, n - column};
    LoadSquare(inverse, false, left);
    LoadSquare(panel, false, right);
    __syncthreads();
    MultiplySquares(left, right, -1.0f);
    __syncthreads();
    StoreSquare(left, panel, false);
  } else {
    const Part panel{factor + at * n + first, n, first - at, size};
    LoadSquare(panel, false, left);
    LoadSquare(inverse, side == Side::kColumnsByTransposed, right);
    __syncthreads();
    MultiplySquares(left, right, 1.0f);
    __syncthreads();
    StoreSquare(left, panel, false);
    StoreSquare(left, {mirror.data + at, mirror.stride, size, first - at}, true);
  }
}

struct Factorization {
  Session& session;
  float* factor;
  int64_t n;
  Matrix<float> mirror;  // [kBlock, n], rows aligned: a panel, transposed
  int32_t* status;

  template <Side side>
  void MultiplyPanel(int64_t first, int64_t size) const {
    const int64_t extent = side == Side::kRows ? n - first - size : first;
    Launch(session, MultiplyPanelKernel<side>,
           {.blocks_x = BlockCount(CeilDivide(extent, kBlock)), .threads = kThreads}, factor, n,
           first, size, mirror, status);
  }

  // [0, rows) x [column, column + columns) of factor -= mirror^T b.
  void Subtract(int64_t rows, int64_t column, int64_t columns, int64_t depth, Matrix<const float> b,
                bool upper_only) const {
    MultiplyMatrices(session, {.rows = rows,
                               .columns = columns,
                               .depth = depth,
                               .a = {mirror.data, mirror.stride},
                               .b = b,
                               .c = {factor + column, n},
                               .alpha = -1.0f,
                               .upper_only = upper_only,
                               .status = status});
  }
};

// H = R R^T from the last block to the first; diagonal blocks become their own inverses.
void Factor(const Factorization& f) {
  for (int64_t first = (f.n - 1) / kBlock * kBlock; first >= 0; first -= kBlock) {
    const int64_t size = f.n - first < kBlock ? f.n - first : kBlock;
    Launch(f.session, FactorDiagonalKernel, {.threads = DiagonalBlock::kThreads}, f.factor, f.n,
           first, static_cast<int>(size), f.status);
    f.MultiplyPanel<Side::kColumnsByTransposed>(first, size);
    f.Subtract(first, 0, first, size, {f.mirror.data, f.mirror.stride}, true);
  }
}

// U = R^-1; see Invert in blocked.cc.
void Invert(const Factorization& f) {
  for (int64_t first = 0; first < f.n; first += kBlock) {
    const int64_t size = f.n - first < kBlock ? f.n - first : kBlock;
    const int64_t next = first + size;
    f.MultiplyPanel<Side::kColumns>(first, size);
    f.Subtract(first, next, f.n - next, size, {f.factor + first * f.n + next, f.n}, false);
    f.MultiplyPanel<Side::kRows>(first, size);
  }
}

// With room for the library's where there is that much memory.
float* ScratchOf(Session& session, int64_t before, int64_t own, CusolverInverse& by_library) {
  if (by_library.Floats() > own) {
    try {
      return session.Scratch<float>(before + by_library.Floats());
    } catch (const Error& error) {
      if (error.code() != Code::kOutOfMemory) throw;
      by_library.GiveUp();
    }
  }
  return session.Scratch<float>(before + own);
}

void RunInverseCholesky(Session& session, const InverseCholeskyArgs& args) {
  const int64_t n = args.hessian.shape[0];
  const float* hessian = args.hessian.As<const float>();
  float* factor = args.factor.As<float>();
  const int64_t stride = CeilDivide(n, 4) * 4;
  // The damping term in front of the panel takes as much as keeps that aligned.
  constexpr int64_t kFloatsBefore = 64;
  CusolverInverse by_library(session, args);
  float* scratch = ScratchOf(session, kFloatsBefore, kBlock * stride, by_library);
  auto* term = reinterpret_cast<double*>(scratch);
  auto* status = args.status.As<int32_t>();
  Launch(session, DampingKernel, {.threads = kThreads}, hessian, n, args.damping, term, status);
  if (n == 0 || by_library.Run(term, scratch + kFloatsBefore)) return;
  Launch(session, CopyDampedKernel, RowParts(n, n, 1), hessian, n, term, factor);
  const Factorization f{session, factor, n, {scratch + kFloatsBefore, stride}, status};
  Factor(f);
  Invert(f);
}

const Operation<InverseCholeskyArgs, RunInverseCholesky> operation("inverseCholesky");

}  // namespace

}  // namespace kernels::cuda
