#include "cuda/rows.h"
#include "ops/embedding/embedding.h"

// Moves rows of a table, widened.
namespace kernels::cuda {

namespace {

const int32_t kIds = RegisterFault("embedding: ids");

template <class T, int n>
__global__ void EmbeddingKernel(Matrix<const T> table, int64_t vocabulary, const int32_t* ids,
                                FaultSink faults, int64_t width, Matrix<float> y) {
  const auto [row, column] = FirstElement<n>(width);
  if (column >= width) return;
  const int64_t id = ids[row];
  if (id < 0 || id >= vocabulary) {
    if (column == 0) faults.Report(row, id, 0, vocabulary);
    return;
  }
  const auto from = LoadPack<T, n>(table.Row(id) + column);
  Pack<float, n> to;
  for (int i = 0; i < n; ++i) to.at[i] = ToFloat(from.at[i]);
  StorePack(y.Row(row) + column, to);
}

void RunEmbedding(Session& session, const EmbeddingArgs& args) {
  const int64_t width = args.table.shape[1];
  WithFloatType(args.table.dtype, [&](auto type) {
    using T = decltype(type);
    WithPacks<4>(HasPacks(args.table, 4) && HasPacks(args.y, 4), [&](auto pack) {
      Launch(session, EmbeddingKernel<T, pack()>, RowParts(args.ids.shape[0], width, pack()),
             MatrixOf<const T>(args.table), args.table.shape[0], args.ids.As<const int32_t>(),
             FaultSink{session.faults(), kIds}, width, MatrixOf<float>(args.y));
    });
  });
}

const Operation<EmbeddingArgs, RunEmbedding> operation("embedding");

}  // namespace

}  // namespace kernels::cuda
