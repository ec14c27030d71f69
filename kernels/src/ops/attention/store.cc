#include "core/rows.h"
#include "ops/attention/attention.h"
#include "ops/attention/pages.h"

namespace kernels {

namespace {

inline void Narrow(float from, float& to) {
  to = from;
}

inline void Narrow(float from, F16& to) {
  to = ToF16(from);
}

template <class T>
void StoreRow(const StoreCacheArgs& args, int64_t row, const Pages& pages) {
  const int64_t heads = args.k_cache.shape[1];
  const int64_t dim = args.k_cache.shape[3];
  const float* k = args.k.Row<const float>(row);
  const float* v = args.v.Row<const float>(row);
  for (int64_t h = 0; h < heads; ++h, k += dim, v += dim) {
    const int64_t to = pages.Offset(args.positions.As<int32_t>()[row], h);
    for (int64_t d = 0; d < dim; ++d) Narrow(k[d], args.k_cache.As<T>()[to + d]);
    for (int64_t d = 0; d < dim; ++d) Narrow(v[d], args.v_cache.As<T>()[to + d]);
  }
}

}  // namespace

void StoreCache(const Context& context, const StoreCacheArgs& args) {
  RequirePositions("storeCache", args.positions, args.row_sequence, args.block_table, args.k_cache,
                   false);
  const int64_t width = args.k.shape[1];
  const int32_t* sequence = args.row_sequence.As<int32_t>();
  const auto store = args.k_cache.dtype == DType::kF16 ? StoreRow<F16> : StoreRow<float>;
  ForRows(context.pool, args.k.shape[0], 2 * width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      store(args, r, PagesOf(args.k_cache, args.block_table, sequence[r]));
    }
  });
}

}  // namespace kernels
