#include "cuda/rows.h"
#include "ops/gather/gather.h"

// Moves rows and columns. What an index out of range would have named stays as it was.
namespace kernels::cuda {

namespace {

const int32_t kRows = RegisterFault("gatherRows: index");
const int32_t kColumns = RegisterFault("gatherColumns: index");

template <class Word>
__global__ void GatherRowsKernel(Matrix<const Word> x, int64_t rows, const int32_t* index,
                                 FaultSink faults, int64_t width, Matrix<Word> y) {
  const auto [row, column] = FirstElement<1>(width);
  if (column >= width) return;
  const int64_t at = index[row];
  if (at < 0 || at >= rows) {
    if (column == 0) faults.Report(row, at, 0, rows);
    return;
  }
  y.Row(row)[column] = x.Row(at)[column];
}

template <class T>
__global__ void GatherColumnsKernel(Matrix<const T> x, int64_t width, const int32_t* index,
                                    FaultSink faults, int64_t count, T* y) {
  const auto [row, column] = FirstElement<1>(count);
  if (column >= count) return;
  const int64_t at = index[column];
  if (at < 0 || at >= width) {
    faults.Report(column, at, 0, width);
    return;
  }
  y[row * count + column] = x.Row(row)[at];
}

__global__ void ZeroColumnsKernel(Matrix<float> w, int64_t width, const float* diagonal) {
  const auto [row, column] = FirstElement<1>(width);
  if (column < width && diagonal[column] == 0) w.Row(row)[column] = 0;
}

void RunGatherRows(Session& session, const GatherRowsArgs& args) {
  const WordRows y = WordRowsOf(args.y);
  const WordRows x = WordRowsOf(args.x);
  WithWord(x, y, [&](auto type) {
    using Word = decltype(type);
    const int64_t width = x.width / static_cast<int64_t>(sizeof(Word));
    Launch(session, GatherRowsKernel<Word>, RowParts(args.index.shape[0], width, 1),
           MatrixOfWords<const Word>(x), args.x.shape[0], args.index.As<const int32_t>(),
           FaultSink{session.faults(), kRows}, width, MatrixOfWords<Word>(y));
  });
}

template <class T>
void GatherColumnsOf(Session& session, const GatherColumnsArgs& args) {
  const int64_t count = args.index.shape[0];
  Launch(session, GatherColumnsKernel<T>, RowParts(args.x.shape[0], count, 1),
         MatrixOf<const T>(args.x), args.x.shape[1], args.index.As<const int32_t>(),
         FaultSink{session.faults(), kColumns}, count, args.y.As<T>());
}

void RunGatherColumns(Session& session, const GatherColumnsArgs& args) {
  if (args.x.dtype == DType::kF32) GatherColumnsOf<float>(session, args);
  if (args.x.dtype == DType::kU8) GatherColumnsOf<uint8_t>(session, args);
}

void RunZeroColumns(Session& session, const ZeroColumnsArgs& args) {
  const int64_t width = args.w.shape[1];
  Launch(session, ZeroColumnsKernel, RowParts(args.w.shape[0], width, 1), MatrixOf<float>(args.w),
         width, args.diagonal.As<const float>());
}

const Operation<GatherRowsArgs, RunGatherRows> gather_rows("gatherRows");
const Operation<GatherColumnsArgs, RunGatherColumns> gather_columns("gatherColumns");
const Operation<ZeroColumnsArgs, RunZeroColumns> zero_columns("zeroColumns");

}  // namespace

}  // namespace kernels::cuda
