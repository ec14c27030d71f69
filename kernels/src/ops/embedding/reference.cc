#include "core/error.h"
#include "core/rows.h"
#include "ops/embedding/embedding.h"

namespace kernels {

namespace {

template <class T>
void CopyRows(const Context& context, const EmbeddingArgs& args) {
  const int32_t* ids = args.ids.As<int32_t>();
  const int64_t width = args.table.shape[1];
  ForRows(context.pool, args.ids.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = args.table.Row<T>(ids[r]);
      float* to = args.y.Row<float>(r);
      for (int64_t i = 0; i < width; ++i) to[i] = ToFloat(from[i]);
    }
  });
}

}  // namespace

void Embedding(const Context& context, const EmbeddingArgs& args) {
  const int32_t* ids = args.ids.As<int32_t>();
  const int64_t vocabulary = args.table.shape[0];
  for (int64_t r = 0; r < args.ids.shape[0]; ++r) {
    if (ids[r] < 0 || ids[r] >= vocabulary) {
      throw Error(Code::kValue, "embedding: ids[" + std::to_string(r) + "] is " +
                                    std::to_string(ids[r]) + "; the table has rows 0 to " +
                                    std::to_string(vocabulary - 1));
    }
  }
  if (args.table.dtype == DType::kF32) CopyRows<float>(context, args);
  if (args.table.dtype == DType::kF16) CopyRows<F16>(context, args);
  if (args.table.dtype == DType::kBF16) CopyRows<BF16>(context, args);
}

}  // namespace kernels
