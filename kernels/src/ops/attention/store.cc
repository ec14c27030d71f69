#include "core/rows.h"
#include "ops/attention/attention.h"
#include "ops/attention/pages.h"
#include "ops/cache_quantization/grid.h"
#include "ops/rope/rope.h"

namespace kernels {

namespace {

inline void Narrow(float from, float& to) {
  to = from;
}

inline void Narrow(float from, F16& to) {
  to = ToF16(from);
}

inline void Narrow(float from, BF16& to) {
  to = ToBF16(from);
}

// One head's key or value, which becomes row `at` of a cache.
template <class T>
void StoreHead(const float* from, int64_t at, const Tensor& cache, const Tensor&) {
  const int64_t dim = cache.shape[3];
  T* to = cache.As<T>() + at * dim;
  for (int64_t d = 0; d < dim; ++d) Narrow(from[d], to[d]);
}

template <>
void StoreHead<uint8_t>(const float* from, int64_t at, const Tensor& cache, const Tensor& grids) {
  const int64_t dim = cache.shape[3];
  grids.As<CacheGrid>()[at] = RoundToCodes(from, dim, cache.As<uint8_t>() + at * dim);
}

template <class T>
void StoreRow(const StoreCacheArgs& args, int64_t row, const Pages& pages) {
  const float* k = args.k.Row<const float>(row);
  const float* v = args.v.Row<const float>(row);
  for (int64_t h = 0; h < pages.kv_heads; ++h, k += pages.dim, v += pages.dim) {
    const int64_t at = pages.Row(args.positions.As<int32_t>()[row], h);
    StoreHead<T>(k, at, args.k_cache, args.k_grids);
    StoreHead<T>(v, at, args.v_cache, args.v_grids);
  }
}

auto StoreRowIn(DType cache) {
  switch (cache) {
    case DType::kBF16:
      return StoreRow<BF16>;
    case DType::kF16:
      return StoreRow<F16>;
    case DType::kU8:
      return StoreRow<uint8_t>;
    default:
      return StoreRow<float>;
  }
}

void Store(const Context& context, const char* op, const StoreCacheArgs& args) {
  RequirePositions(op, args.positions, args.row_sequence, args.block_table, args.k_cache, false);
  const int64_t width = args.k.shape[1];
  const int32_t* sequence = args.row_sequence.As<int32_t>();
  const auto store = StoreRowIn(args.k_cache.dtype);
  ForRows(context.pool, args.k.shape[0], 2 * width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      store(args, r, PagesOf(args.k_cache, args.block_table, sequence[r]));
    }
  });
}

Tensor Columns(const Tensor& matrix, int64_t first, int64_t count) {
  Tensor view = matrix;
  view.data += first * DTypeBytes(matrix.dtype);
  view.shape[1] = count;
  return view;
}

}  // namespace

void StoreCache(const Context& context, const StoreCacheArgs& args) {
  Store(context, "storeCache", args);
}

void RopeStoreCache(const Context& context, const RopeStoreCacheArgs& args) {
  const int64_t kv_width = args.k_cache.shape[1] * args.k_cache.shape[3];
  const int64_t values = args.qkv.shape[1] - kv_width;
  Rope(context, {.x = Columns(args.qkv, 0, values), .table = args.table});
  Store(context, "ropeStoreCache",
        {.k = Columns(args.qkv, values - kv_width, kv_width),
         .v = Columns(args.qkv, values, kv_width),
         .positions = args.positions,
         .row_sequence = args.row_sequence,
         .block_table = args.block_table,
         .k_cache = args.k_cache,
         .v_cache = args.v_cache,
         .k_grids = args.k_grids,
         .v_grids = args.v_grids});
}

}  // namespace kernels
