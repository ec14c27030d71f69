#include "core/check.h"
#include "ops/attention/attention.h"

namespace kernels {

namespace {

void RequireGrids(const char* op, const char* name, const Tensor& grids, const Tensor& cache) {
  if (cache.dtype == DType::kU8) {
    RequireDense(op, name, grids, DType::kF16, {cache.shape[0], cache.shape[1], cache.shape[2], 2});
  } else {
    Require(grids.empty(), Code::kDtype, op,
            std::string(name) + " belongs to codes; the cache is " + Describe(cache));
  }
}

// Args: StoreCacheArgs, RopeStoreCacheArgs or AttentionArgs.
template <class Args>
void RequireCaches(const char* op, const Args& args) {
  const Tensor& k_cache = args.k_cache;
  Require(IsFloat(k_cache.dtype) || k_cache.dtype == DType::kU8, Code::kDtype, op,
          "k_cache is " + Describe(k_cache) + "; expected f32, f16, bf16 or u8");
  RequireDense(op, "k_cache", k_cache, k_cache.dtype, {kAny, kAny, kAny, kAny});
  RequireDense(op, "v_cache", args.v_cache, k_cache.dtype,
               {k_cache.shape[0], k_cache.shape[1], k_cache.shape[2], k_cache.shape[3]});
  Require(k_cache.shape[1] > 0 && k_cache.shape[2] > 0 && k_cache.shape[3] > 0, Code::kShape, op,
          "k_cache is " + Describe(k_cache) + "; heads, block size and dim must not be zero");
  RequireGrids(op, "k_grids", args.k_grids, k_cache);
  RequireGrids(op, "v_grids", args.v_grids, k_cache);
}

void RequireSteps(const char* op, int64_t rows, const Tensor& positions, const Tensor& row_sequence,
                  const Tensor& block_table) {
  RequireTensor(op, "positions", positions, DType::kI32, {rows});
  RequireTensor(op, "row_sequence", row_sequence, DType::kI32, {rows});
  RequireTensor(op, "block_table", block_table, DType::kI32, {kAny, kAny});
}

}  // namespace

void CheckStoreCache(const StoreCacheArgs& args) {
  constexpr const char* kOp = "storeCache";
  RequireCaches(kOp, args);
  const int64_t width = args.k_cache.shape[1] * args.k_cache.shape[3];
  RequireTensor(kOp, "k", args.k, DType::kF32, {kAny, width});
  RequireTensor(kOp, "v", args.v, DType::kF32, {args.k.shape[0], width});
  RequireSteps(kOp, args.k.shape[0], args.positions, args.row_sequence, args.block_table);
}

void CheckRopeStoreCache(const RopeStoreCacheArgs& args) {
  constexpr const char* kOp = "ropeStoreCache";
  RequireCaches(kOp, args);
  RequireTensor(kOp, "qkv", args.qkv, DType::kF32, {kAny, kAny});
  const int64_t dim = args.k_cache.shape[3];
  const int64_t kv_width = args.k_cache.shape[1] * dim;
  const int64_t width = args.qkv.shape[1];
  Require(dim % 2 == 0 && width % dim == 0 && width / 2 >= kv_width, Code::kShape, kOp,
          "qkv is " + Describe(args.qkv) + " and k_cache " + Describe(args.k_cache) +
              "; a row of qkv must be whole heads of an even dim, keys and values among them");
  RequireTensor(kOp, "table", args.table, DType::kF32, {args.qkv.shape[0], dim});
  RequireSteps(kOp, args.qkv.shape[0], args.positions, args.row_sequence, args.block_table);
}

void CheckAttention(const AttentionArgs& args) {
  constexpr const char* kOp = "attention";
  RequireCaches(kOp, args);
  RequireTensor(kOp, "q", args.q, DType::kF32, {kAny, kAny});
  const int64_t rows = args.q.shape[0];
  const int64_t kv_width = args.k_cache.shape[1] * args.k_cache.shape[3];
  Require(args.q.shape[1] % kv_width == 0, Code::kShape, kOp,
          "q is " + Describe(args.q) + " and k_cache " + Describe(args.k_cache) +
              "; the query heads must be a multiple of the key heads");
  RequireTensor(kOp, "y", args.y, DType::kF32, {rows, args.q.shape[1]});
  RequireTensor(kOp, "query_scale", args.query_scale, DType::kF32, {rows});
  RequireSteps(kOp, rows, args.positions, args.row_sequence, args.block_table);
}

}  // namespace kernels
