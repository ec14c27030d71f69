#include "core/error.h"
#include "ops/attention/cuda_view.h"

// Arguments of the kernels: cuda_rows.cu, cuda_tiles.cu and cuda_store.cu have them.
namespace kernels::cuda {

namespace {

const int32_t kPositions = RegisterFault("attention: positions");
const int32_t kRowSequence = RegisterFault("attention: row_sequence");
const int32_t kBlockTable = RegisterFault("attention: block_table");

template <class T>
void Attend(Session& session, const AttentionArgs& args) {
  const Tensor& cache = args.k_cache;
  AttentionView<T> view{};
  view.q = MatrixOf<const float>(args.q);
  view.k = args.k_cache.As<const T>();
  view.v = args.v_cache.As<const T>();
  view.k_grids = args.k_grids.As<const CacheGrid>();
  view.v_grids = args.v_grids.As<const CacheGrid>();
  view.steps = StepsOf(args, session.faults(), {kPositions, kRowSequence, kBlockTable});
  view.query_scale = args.query_scale.As<const float>();
  view.y = MatrixOf<float>(args.y);
  view.rows = args.q.shape[0];
  view.dim = static_cast<int>(cache.shape[3]);
  view.group = static_cast<int>(args.q.shape[1] / (cache.shape[1] * cache.shape[3]));
  if (view.rows == 0 || view.group == 0) return;
  if (HasTiles(view)) AttendTiles(session, view);
  AttendRows(session, view);
}

void RunAttention(Session& session, const AttentionArgs& args) {
  if (args.k_cache.shape[3] > 1 << 20 || args.q.shape[1] / args.k_cache.shape[3] > 1 << 20) {
    throw Error(Code::kUnsupported, "attention: so wide heads, or so many, do not fit a GPU");
  }
  if (args.k_cache.dtype == DType::kU8) {
    Attend<uint8_t>(session, args);
  } else {
    WithFloatType(args.k_cache.dtype, [&](auto type) { Attend<decltype(type)>(session, args); });
  }
}

const Operation<AttentionArgs, RunAttention> operation("attention");

}  // namespace

}  // namespace kernels::cuda
