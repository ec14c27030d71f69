#include <cmath>

#include "ops/attention/implementations.h"
#include "ops/attention/pages.h"

namespace kernels::reference {

namespace {

// Two passes over the stored positions: all scores, then the weighted sum of values.
template <class T>
void AttendHead(const AttentionArgs& args, int64_t row, int64_t head, double* scratch) {
  const int64_t dim = args.k_cache.shape[3];
  const int64_t group = args.q.shape[1] / (args.k_cache.shape[1] * dim);
  const int64_t count = int64_t{args.positions.As<int32_t>()[row]} + 1;
  const Pages pages = PagesOf(args.k_cache, args.block_table, args.row_sequence.As<int32_t>()[row]);
  const float* q = args.q.Row<float>(row) + head * dim;
  double* weight = scratch;
  double* sum = scratch + count;

  double largest = -INFINITY;
  for (int64_t p = 0; p < count; ++p) {
    const T* k = args.k_cache.As<const T>() + pages.Offset(p, head / group);
    double dot = 0;
    for (int64_t d = 0; d < dim; ++d) dot += double{q[d]} * double{ToFloat(k[d])};
    weight[p] = dot * double{args.query_scale.As<float>()[row]};
    largest = weight[p] > largest ? weight[p] : largest;
  }
  double total = 0;
  for (int64_t d = 0; d < dim; ++d) sum[d] = 0;
  for (int64_t p = 0; p < count; ++p) {
    const T* v = args.v_cache.As<const T>() + pages.Offset(p, head / group);
    const double w = std::exp(weight[p] - largest);
    total += w;
    for (int64_t d = 0; d < dim; ++d) sum[d] += w * double{ToFloat(v[d])};
  }
  float* y = args.y.Row<float>(row) + head * dim;
  for (int64_t d = 0; d < dim; ++d) y[d] = static_cast<float>(sum[d] / total);
}

}  // namespace

void Attention(const Context& context, const AttentionArgs& args) {
  RequirePositions("attention", args.positions, args.row_sequence, args.block_table, args.k_cache,
                   true);
  const int64_t dim = args.k_cache.shape[3];
  const int64_t heads = args.q.shape[1] / dim;
  context.pool.ParallelFor(args.q.shape[0] * heads, [&](int64_t item, int worker) {
    const int64_t row = item / heads;
    const int64_t count = int64_t{args.positions.As<int32_t>()[row]} + 1;
    std::byte* scratch = context.pool.Scratch(worker, (count + dim) * sizeof(double));
    const auto attend = args.k_cache.dtype == DType::kF16 ? AttendHead<F16> : AttendHead<float>;
    attend(args, row, item % heads, reinterpret_cast<double*>(scratch));
  });
}

}  // namespace kernels::reference
