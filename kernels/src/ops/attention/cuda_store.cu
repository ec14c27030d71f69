#include "cuda/rows.h"
#include "ops/attention/cuda_view.h"
#include "ops/cache_quantization/cuda_grid.h"

// A warp stores one head's key or value.
namespace kernels::cuda {

namespace {

constexpr int kWarps = 8;

const int32_t kPositions = RegisterFault("storeCache: positions");
const int32_t kRowSequence = RegisterFault("storeCache: row_sequence");
const int32_t kBlockTable = RegisterFault("storeCache: block_table");

template <class T>
struct Side {
  Matrix<const float> from;
  T* cache;
  CacheGrid* grids;
};

template <class T, int n>
__device__ void StoreHead(const float* from, int64_t dim, T* to) {
  for (int64_t d = threadIdx.x % kWarpSize * n; d < dim; d += kWarpSize * n) {
    const auto pack = LoadPack<float, n>(from + d);
    Pack<T, n> narrow;
    for (int i = 0; i < n; ++i) narrow.at[i] = Narrow<T>(pack.at[i]);
    StorePack(to + d, narrow);
  }
}

template <class T, int n>
__global__ void StoreCacheKernel(Side<T> k, Side<T> v, Steps steps, int64_t rows, int64_t dim) {
  const int64_t item = blockIdx.x * int64_t{kWarps} + threadIdx.x / kWarpSize;
  const int64_t row = item / (2 * steps.kv_heads);
  if (row >= rows) return;
  const int64_t head = item / 2 % steps.kv_heads;
  const bool is_key = item % 2 == 0;
  const bool reports = threadIdx.x % kWarpSize == 0;
  if (steps.Visible(row, reports) == 0) return;
  const int64_t at = steps.Find(steps.row_sequence[row], steps.positions[row], head);
  if (at < 0) return;
  const float* from = (is_key ? k.from.Row(row) : v.from.Row(row)) + head * dim;
  T* to = (is_key ? k.cache : v.cache) + at * dim;
  if constexpr (kIsCoded<T>) {
    const CacheGrid grid = WarpRoundToCodes(from, dim, to);
    if (threadIdx.x % kWarpSize == 0) (is_key ? k.grids : v.grids)[at] = grid;
  } else {
    StoreHead<T, n>(from, dim, to);
  }
}

template <class T>
void Store(Session& session, const StoreCacheArgs& args) {
  const Tensor& cache = args.k_cache;
  const Side<T> k = {MatrixOf<const float>(args.k), args.k_cache.As<T>(),
                     args.k_grids.As<CacheGrid>()};
  const Side<T> v = {MatrixOf<const float>(args.v), args.v_cache.As<T>(),
                     args.v_grids.As<CacheGrid>()};
  const Steps steps = StepsOf(args, session.faults(), {kPositions, kRowSequence, kBlockTable});
  const int64_t rows = args.k.shape[0];
  const int64_t items = rows * steps.kv_heads * 2;
  const bool has_packs = cache.shape[3] % 4 == 0 && HasPacks(args.k, 4) && HasPacks(args.v, 4) &&
                         HasPacks(args.k_cache, 4) && HasPacks(args.v_cache, 4);
  const auto launch = [&](auto pack) {
    Launch(session, StoreCacheKernel<T, pack()>,
           {.blocks_x = BlockCount(CeilDivide(items, kWarps)), .threads = kWarps * kWarpSize}, k, v,
           steps, rows, cache.shape[3]);
  };
  if constexpr (kIsCoded<T>) {
    launch(std::integral_constant<int, 1>{});
  } else {
    WithPacks<4>(has_packs, launch);
  }
}

void RunStoreCache(Session& session, const StoreCacheArgs& args) {
  if (args.k_cache.dtype == DType::kU8) {
    Store<uint8_t>(session, args);
  } else {
    WithFloatType(args.k_cache.dtype, [&](auto type) { Store<decltype(type)>(session, args); });
  }
}

const Operation<StoreCacheArgs, RunStoreCache> operation("storeCache");

}  // namespace

}  // namespace kernels::cuda
