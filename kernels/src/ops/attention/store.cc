#include <cstring>

#include "core/rows.h"
#include "ops/attention/attention.h"
#include "ops/attention/pages.h"

namespace kernels {

void StoreCache(const Context& context, const StoreCacheArgs& args) {
  RequirePositions("storeCache", args.positions, args.row_sequence, args.block_table, args.k_cache,
                   false);
  const int64_t heads = args.k_cache.shape[1];
  const int64_t dim = args.k_cache.shape[3];
  const int32_t* position = args.positions.As<int32_t>();
  const int32_t* sequence = args.row_sequence.As<int32_t>();
  ForRows(context.pool, args.k.shape[0], 2 * heads * dim, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const Pages pages = PagesOf(args.k_cache, args.block_table, sequence[r]);
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t to = pages.Offset(position[r], h);
        const size_t bytes = dim * sizeof(float);
        std::memcpy(args.k_cache.As<float>() + to, args.k.Row<float>(r) + h * dim, bytes);
        std::memcpy(args.v_cache.As<float>() + to, args.v.Row<float>(r) + h * dim, bytes);
      }
    }
  });
}

}  // namespace kernels
