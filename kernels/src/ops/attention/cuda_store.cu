#include "cuda/rows.h"
#include "ops/attention/cuda_view.h"
#include "ops/cache_quantization/cuda_grid.h"
#include "ops/rope/cuda_rope.h"

// A warp has one head of a row: it stores a key or a value, rotates a query, or does both to a key.
namespace kernels::cuda {

namespace {

constexpr int kWarps = 8;

const StepTexts kStoreTexts = {RegisterFault("storeCache: positions"),
                               RegisterFault("storeCache: row_sequence"),
                               RegisterFault("storeCache: block_table")};
const StepTexts kRopeStoreTexts = {RegisterFault("ropeStoreCache: positions"),
                                   RegisterFault("ropeStoreCache: row_sequence"),
                                   RegisterFault("ropeStoreCache: block_table")};

template <class T>
struct Side {
  T* cache;
  CacheGrid* grids;
};

template <class T>
struct Cache {
  Side<T> k, v;
  Steps steps;
  int64_t dim;
};

// Args: StoreCacheArgs or RopeStoreCacheArgs.
template <class T, class Args>
Cache<T> CacheOf(const Args& args, FaultRecord* faults, const StepTexts& texts) {
  return {{args.k_cache.template As<T>(), args.k_grids.template As<CacheGrid>()},
          {args.v_cache.template As<T>(), args.v_grids.template As<CacheGrid>()},
          StepsOf(args, faults, texts),
          args.k_cache.shape[3]};
}

// A row and one of its heads, of one operand or of all side by side.
struct Item {
  int64_t row;
  int64_t head;
};

// What a warp has, where a row has so many heads.
__device__ Item WarpItem(int64_t heads) {
  const int64_t item = blockIdx.x * int64_t{kWarps} + threadIdx.x / kWarpSize;
  return {item / heads, item % heads};
}

template <class T, int n>
__device__ void NarrowHead(const float* from, int64_t dim, T* to) {
  for (int64_t d = threadIdx.x % kWarpSize * n; d < dim; d += kWarpSize * n) {
    const auto pack = LoadPack<float, n>(from + d);
    Pack<T, n> narrow;
    for (int i = 0; i < n; ++i) narrow.at[i] = Narrow<T>(pack.at[i]);
    StorePack(to + d, narrow);
  }
}

// Nothing where the row's state is wrong.
template <class T, int n>
__device__ void StoreHead(const float* from, const Cache<T>& cache, Side<T> side, Item item) {
  const Steps& steps = cache.steps;
  const bool is_first = threadIdx.x % kWarpSize == 0;
  if (steps.Visible(item.row, is_first) == 0) return;
  const int64_t at = steps.Find(steps.row_sequence[item.row], steps.positions[item.row], item.head);
  if (at < 0) return;
  T* to = side.cache + at * cache.dim;
  if constexpr (kIsCoded<T>) {
    const CacheGrid grid = WarpRoundToCodes(from, cache.dim, to);
    if (is_first) side.grids[at] = grid;
  } else {
    NarrowHead<T, n>(from, cache.dim, to);
  }
}

template <class T, int n>
__global__ void StoreCacheKernel(Matrix<const float> k, Matrix<const float> v, Cache<T> cache,
                                 int64_t rows) {
  const auto [row, side] = WarpItem(2 * cache.steps.kv_heads);
  if (row >= rows) return;
  const int64_t head = side / 2;
  const bool is_key = side % 2 == 0;
  const float* from = (is_key ? k.Row(row) : v.Row(row)) + head * cache.dim;
  StoreHead<T, n>(from, cache, is_key ? cache.k : cache.v, {row, head});
}

// A row of qkv has the heads of queries, then those of keys, then those of values.
template <class T, int n>
__global__ void RopeStoreCacheKernel(Matrix<float> qkv, Matrix<const float> table, Cache<T> cache,
                                     int64_t rows, int64_t heads) {
  const int64_t kv_heads = cache.steps.kv_heads;
  const auto [row, head] = WarpItem(heads + 2 * kv_heads);
  if (row >= rows) return;
  float* x = qkv.Row(row) + head * cache.dim;
  const bool is_value = head >= heads + kv_heads;
  const int64_t half = cache.dim / 2;
  if (!is_value) {
    for (int64_t j = threadIdx.x % kWarpSize * n; j < half; j += kWarpSize * n) {
      RotatePairs<n>(x + j, table.Row(row) + j, half);
    }
  }
  if (head < heads) return;
  __syncwarp();
  StoreHead<T, n>(x, cache, is_value ? cache.v : cache.k, {row, (head - heads) % kv_heads});
}

template <class Args>
bool HasCachePacks(const Args& args) {
  return HasPacks(args.k_cache, 4) && HasPacks(args.v_cache, 4);
}

Shape WarpsFor(int64_t items) {
  return {.blocks_x = BlockCount(CeilDivide(items, kWarps)), .threads = kWarps * kWarpSize};
}

// Calls f(T{}) with the type of a cache's elements.
template <class F>
void WithCacheType(DType dtype, F f) {
  if (dtype == DType::kU8) return f(uint8_t{});
  WithFloatType(dtype, f);
}

void RunStoreCache(Session& session, const StoreCacheArgs& args) {
  const int64_t rows = args.k.shape[0];
  const bool has_packs = HasCachePacks(args) && HasPacks(args.k, 4) && HasPacks(args.v, 4);
  WithCacheType(args.k_cache.dtype, [&](auto type) {
    using T = decltype(type);
    const auto cache = CacheOf<T>(args, session.faults(), kStoreTexts);
    // Codes are made one by one.
    WithPacks<kIsCoded<T> ? 1 : 4>(has_packs, [&](auto pack) {
      Launch(session, StoreCacheKernel<T, pack()>, WarpsFor(rows * 2 * cache.steps.kv_heads),
             MatrixOf<const float>(args.k), MatrixOf<const float>(args.v), cache, rows);
    });
  });
}

void RunRopeStoreCache(Session& session, const RopeStoreCacheArgs& args) {
  const int64_t rows = args.qkv.shape[0];
  const int64_t dim = args.k_cache.shape[3];
  const int64_t all_heads = args.qkv.shape[1] / dim;
  const bool has_packs =
      dim % 8 == 0 && HasCachePacks(args) && HasPacks(args.qkv, 4) && HasPacks(args.table, 4);
  WithCacheType(args.k_cache.dtype, [&](auto type) {
    using T = decltype(type);
    const auto cache = CacheOf<T>(args, session.faults(), kRopeStoreTexts);
    WithPacks<4>(has_packs, [&](auto pack) {
      Launch(session, RopeStoreCacheKernel<T, pack()>, WarpsFor(rows * all_heads),
             MatrixOf<float>(args.qkv), MatrixOf<const float>(args.table), cache, rows,
             all_heads - 2 * cache.steps.kv_heads);
    });
  });
}

const Operation<StoreCacheArgs, RunStoreCache> store_cache("storeCache");
const Operation<RopeStoreCacheArgs, RunRopeStoreCache> rope_store_cache("ropeStoreCache");

}  // namespace

}  // namespace kernels::cuda
