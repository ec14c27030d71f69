#include <cmath>

#include "ops/attention/implementations.h"
#include "ops/attention/pages.h"
#include "ops/cache_quantization/grid.h"

namespace kernels::reference {

namespace {

// An element of a cache is scale * what is stored + offset.
struct WideGrid {
  double scale;
  double offset;
};

// Floats have no grids.
WideGrid GridOf(const Tensor& grids, int64_t row) {
  if (grids.empty()) return {1, 0};
  const CacheGrid& grid = grids.As<const CacheGrid>()[row];
  return {ToFloat(grid.scale), ToFloat(grid.offset)};
}

double Stored(uint8_t code) {
  return code;
}

template <class T>
double Stored(T value) {
  return ToFloat(value);
}

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
    const int64_t at = pages.Row(p, head / group);
    const T* k = args.k_cache.As<const T>() + at * dim;
    const WideGrid grid = GridOf(args.k_grids, at);
    double dot = 0;
    for (int64_t d = 0; d < dim; ++d) {
      dot += double{q[d]} * (grid.scale * Stored(k[d]) + grid.offset);
    }
    weight[p] = dot * double{args.query_scale.As<float>()[row]};
    largest = weight[p] > largest ? weight[p] : largest;
  }
  double total = 0;
  for (int64_t d = 0; d < dim; ++d) sum[d] = 0;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t at = pages.Row(p, head / group);
    const T* v = args.v_cache.As<const T>() + at * dim;
    const WideGrid grid = GridOf(args.v_grids, at);
    const double w = std::exp(weight[p] - largest);
    total += w;
    for (int64_t d = 0; d < dim; ++d) sum[d] += w * (grid.scale * Stored(v[d]) + grid.offset);
  }
  float* y = args.y.Row<float>(row) + head * dim;
  for (int64_t d = 0; d < dim; ++d) y[d] = static_cast<float>(sum[d] / total);
}

auto AttendHeadOver(DType cache) {
  switch (cache) {
    case DType::kBF16:
      return AttendHead<BF16>;
    case DType::kF16:
      return AttendHead<F16>;
    case DType::kU8:
      return AttendHead<uint8_t>;
    default:
      return AttendHead<float>;
  }
}

}  // namespace

void Attention(const Context& context, const AttentionArgs& args) {
  RequirePositions("attention", args.positions, args.row_sequence, args.block_table, args.k_cache,
                   true);
  const int64_t dim = args.k_cache.shape[3];
  const int64_t heads = args.q.shape[1] / dim;
  const auto attend = AttendHeadOver(args.k_cache.dtype);
  context.pool.ParallelFor(args.q.shape[0] * heads, [&](int64_t item, int worker) {
    const int64_t row = item / heads;
    const int64_t count = int64_t{args.positions.As<int32_t>()[row]} + 1;
    std::byte* scratch = context.pool.Scratch(worker, (count + dim) * sizeof(double));
    attend(args, row, item % heads, reinterpret_cast<double*>(scratch));
  });
}

}  // namespace kernels::reference
