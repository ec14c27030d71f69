#include "cuda/difference.h"
#include "cuda/rows.h"
#include "ops/gemm/cuda_gemm.h"
#include "ops/gemm/cuda_pairs.h"
#include "ops/hessian/hessian.h"

namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;

// Rows of x per product of bf16 or of differences: bounds the scratch memory, and see cuda_pairs.h.
constexpr int64_t kRows = 2048;

// Rows of a matrix, or of a difference.
struct Source {
  Difference of;
  int64_t rows, columns;
};

Source SourceOf(const Tensor& a, const Tensor& b, int64_t row, int64_t rows) {
  return {DifferenceOf(a, b).From(row), rows, a.shape[1]};
}

// Rounds to bf16, in pairs of rows, zeros beyond the end of both sides.
__global__ void PackPairsKernel(Source source, PairMatrix pairs) {
  const auto [pair, j] = FirstElement<1>(pairs.stride);
  if (j >= pairs.stride) return;
  const auto half = [&](int64_t row) {
    const bool is_inside = row < source.rows && j < source.columns;
    return uint32_t{is_inside ? ToBF16(source.of.At(row, j)).bits : uint16_t{0}};
  };
  pairs.data[pair * pairs.stride + j] = half(2 * pair) | half(2 * pair + 1) << 16;
}

__global__ void DifferencesKernel(Source source, Matrix<float> differences) {
  const auto [row, j] = FirstElement<1>(source.columns);
  if (j < source.columns) differences.Row(row)[j] = source.of.At(row, j);
}

int64_t PaddedPairs(int64_t rows) {
  return CeilDivide(rows, 2 * PairMatrix::kPairs) * PairMatrix::kPairs;
}
int64_t PaddedColumns(int64_t columns) {
  return CeilDivide(columns, PairMatrix::kColumns) * PairMatrix::kColumns;
}

PairMatrix PackPairs(Session& session, const Source& source, uint32_t* to) {
  const PairMatrix pairs{to, PaddedColumns(source.columns)};
  Launch(session, PackPairsKernel, RowParts(PaddedPairs(source.rows), pairs.stride, 1), source,
         pairs);
  return pairs;
}

// Rounds to bf16 row by row, as NVIDIA's library wants it; zeros beyond the columns.
__global__ void PackRowsKernel(Source source, Matrix<BF16> to) {
  const auto [row, j] = FirstElement<1>(to.stride);
  if (j >= to.stride) return;
  to.Row(row)[j] = j < source.columns ? ToBF16(source.of.At(row, j)) : BF16{0};
}

Matrix<BF16> PackRows(Session& session, const Source& source, uint32_t* to) {
  const Matrix<BF16> rows{reinterpret_cast<BF16*>(to), PaddedColumns(source.columns)};
  Launch(session, PackRowsKernel, RowParts(source.rows, rows.stride, 1), source, rows);
  return rows;
}

bool IsForLibrary(Session& session, const Source& a, const Source& b) {
  return session.cublas_lt() != nullptr && CublasLt::IsWorthwhile(a.columns, b.columns, a.rows);
}

// c += a^T b by NVIDIA's library; false, and nothing done, where it refuses.
bool MultiplyRows(Session& session, const Matrix<BF16>& a, const Matrix<BF16>& b, int64_t depth,
                  const Matrix<float>& c, int64_t rows, int64_t columns) {
  return session.cublas_lt()->Multiply(session.stream(), {.dtype = DType::kBF16,
                                                          .rows = rows,
                                                          .columns = columns,
                                                          .depth = depth,
                                                          .a = a.data,
                                                          .a_stride = a.stride,
                                                          .b = b.data,
                                                          .b_stride = b.stride,
                                                          .c = c.data,
                                                          .c_stride = c.stride,
                                                          .alpha = 1.0f});
}

// gram += x^T x by the library, in panels of columns down to the diagonal: it has no product of
// bf16 that spares a triangle.
bool GramByLibrary(Session& session, const Source& x, const Matrix<float>& gram,
                   uint32_t* scratch) {
  if (!IsForLibrary(session, x, x)) return false;
  constexpr int64_t kPanels = 8;
  const int64_t n = x.columns;
  const int64_t width = PaddedColumns(CeilDivide(n, kPanels));
  const Matrix<BF16> rows = PackRows(session, x, scratch);
  for (int64_t first = 0; first < n; first += width) {
    const int64_t columns = n - first < width ? n - first : width;
    if (MultiplyRows(session, rows, {rows.data + first, rows.stride}, x.rows,
                     {gram.data + first, gram.stride}, first + columns, columns)) {
      continue;
    }
    if (first == 0) return false;
    throw Error(Code::kDevice, session.cublas_lt()->Describe() + " refused a part of a product");
  }
  return true;
}

bool CrossByLibrary(Session& session, const Source& left, const Source& right,
                    const Matrix<float>& cross, uint32_t* left_scratch, uint32_t* right_scratch) {
  if (!IsForLibrary(session, left, right)) return false;
  return MultiplyRows(session, PackRows(session, left, left_scratch),
                      PackRows(session, right, right_scratch), left.rows, cross, left.columns,
                      right.columns);
}

void AccumulateBf16(Session& session, const AccumulateGramArgs& args) {
  const int64_t rows = args.x.shape[0];
  const int64_t n = args.x.shape[1];
  auto* scratch =
      session.Scratch<uint32_t>(PaddedPairs(rows < kRows ? rows : kRows) * PaddedColumns(n));
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = rows - row < kRows ? rows - row : kRows;
    const Source x = SourceOf(args.x, {}, row, count);
    if (GramByLibrary(session, x, MatrixOf<float>(args.gram), scratch)) continue;
    const PairMatrix pairs = PackPairs(session, x, scratch);
    MultiplyPairs(session, {.rows = n,
                            .columns = n,
                            .pairs = PaddedPairs(count),
                            .a = pairs,
                            .b = pairs,
                            .c = MatrixOf<float>(args.gram),
                            .upper_only = true});
  }
}

void RunAccumulateGram(Session& session, const AccumulateGramArgs& args) {
  if (args.rounds_to_bf16) return AccumulateBf16(session, args);
  const int64_t n = args.x.shape[1];
  const auto x = MatrixOf<const float>(args.x);
  MultiplyMatrices(session, {.rows = n,
                             .columns = n,
                             .depth = args.x.shape[0],
                             .a = x,
                             .b = x,
                             .c = MatrixOf<float>(args.gram),
                             .alpha = 1.0f,
                             .upper_only = true});
}

void CrossBf16(Session& session, const AccumulateCrossArgs& args) {
  const int64_t rows = args.x.shape[0];
  const int64_t m = args.x.shape[1];
  const int64_t n = args.inputs.shape[1];
  const int64_t most = PaddedPairs(rows < kRows ? rows : kRows);
  auto* scratch = session.Scratch<uint32_t>(most * (PaddedColumns(m) + PaddedColumns(n)));
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = rows - row < kRows ? rows - row : kRows;
    const Source left = SourceOf(args.original, args.x, row, count);
    const Source right = SourceOf(args.inputs, {}, row, count);
    uint32_t* rest = scratch + most * PaddedColumns(m);
    if (CrossByLibrary(session, left, right, MatrixOf<float>(args.cross), scratch, rest)) continue;
    const PairMatrix differences = PackPairs(session, left, scratch);
    const PairMatrix inputs = PackPairs(session, right, rest);
    MultiplyPairs(session, {.rows = m,
                            .columns = n,
                            .pairs = PaddedPairs(count),
                            .a = differences,
                            .b = inputs,
                            .c = MatrixOf<float>(args.cross),
                            .upper_only = false});
  }
}

void RunAccumulateCross(Session& session, const AccumulateCrossArgs& args) {
  if (args.rounds_to_bf16) return CrossBf16(session, args);
  const int64_t rows = args.x.shape[0];
  const int64_t m = args.x.shape[1];
  const int64_t n = args.inputs.shape[1];
  const int64_t stride = CeilDivide(m, 4) * 4;
  auto* scratch = session.Scratch<float>((rows < kRows ? rows : kRows) * stride);
  const Matrix<float> differences{scratch, stride};
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = rows - row < kRows ? rows - row : kRows;
    Launch(session, DifferencesKernel, RowParts(count, m, 1),
           SourceOf(args.original, args.x, row, count), differences);
    MultiplyMatrices(session, {.rows = m,
                               .columns = n,
                               .depth = count,
                               .a = {scratch, stride},
                               .b = {args.inputs.Row<const float>(row), args.inputs.stride[0]},
                               .c = MatrixOf<float>(args.cross),
                               .alpha = 1.0f});
  }
}

constexpr int kSquare = 32;
using Square = float[kSquare][kSquare + 1];

// Scales a square of the upper triangle and writes its mirror image.
__global__ void FinishKernel(float* gram, int64_t n, float scale, float* diagonal) {
  SHARED(Square, square);
  const int64_t across = CeilDivide(n, kSquare);
  const int64_t row = blockIdx.x / across * kSquare;
  const int64_t column = blockIdx.x % across * kSquare;
  if (column < row) return;
  const int lane = static_cast<int>(threadIdx.x) % kSquare;
  const int first = static_cast<int>(threadIdx.x) / kSquare;
  constexpr int kStep = kThreads / kSquare;
  for (int y = first; y < kSquare; y += kStep) {
    const int64_t i = row + y;
    const int64_t j = column + lane;
    if (i >= n || j >= n || j < i) continue;
    float value = gram[i * n + j] * scale;
    square[y][lane] = value;
    if (i == j) {
      diagonal[i] = value;
      if (value == 0.0f) value = 1.0f;
    }
    gram[i * n + j] = value;
  }
  __syncthreads();
  for (int y = first; y < kSquare; y += kStep) {
    const int64_t i = column + y;
    const int64_t j = row + lane;
    if (i < n && j < i) gram[i * n + j] = square[lane][y];
  }
}

void RunFinishHessian(Session& session, const FinishHessianArgs& args) {
  const int64_t n = args.gram.shape[0];
  const int64_t across = CeilDivide(n, kSquare);
  Launch(session, FinishKernel, {.blocks_x = BlockCount(across * across), .threads = kThreads},
         args.gram.As<float>(), n, args.scale, args.diagonal.As<float>());
}

__global__ void ScaleKernel(float* matrix, int64_t width, float scale) {
  const auto [row, j] = FirstElement<1>(width);
  if (j < width) matrix[row * width + j] *= scale;
}

__global__ void ShiftKernel(float* matrix, int64_t n, float shift) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) matrix[i * (n + 1)] += shift;
}

void RunScaleAndShift(Session& session, const ScaleAndShiftArgs& args) {
  const int64_t rows = args.matrix.shape[0];
  const int64_t n = args.matrix.shape[1];
  auto* matrix = args.matrix.As<float>();
  Launch(session, ScaleKernel, RowParts(rows, n, 1), matrix, n, args.scale);
  if (args.shift == 0.0f) return;
  Launch(session, ShiftKernel,
         {.blocks_x = BlockCount(CeilDivide(n, kThreads)), .threads = kThreads}, matrix, n,
         args.shift);
}

const Operation<AccumulateGramArgs, RunAccumulateGram> accumulate_gram("accumulateGram");
const Operation<AccumulateCrossArgs, RunAccumulateCross> accumulate_cross("accumulateCross");
const Operation<FinishHessianArgs, RunFinishHessian> finish_hessian("finishHessian");
const Operation<ScaleAndShiftArgs, RunScaleAndShift> scale_and_shift("scaleAndShift");

}  // namespace

}  // namespace kernels::cuda
