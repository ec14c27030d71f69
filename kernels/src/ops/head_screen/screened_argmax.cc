#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "ops/head_screen/head_screen.h"
#include "ops/linear/linear.h"

namespace kernels {

namespace {

// Rows of the weight that are gathered and computed together.
constexpr int64_t kChunk = 256;
constexpr int kLanes = 16;

// The largest value that some row certainly reaches.
float CertainBest(const float* approx, const float* slack, float norm, int64_t limit) {
  float best[kLanes];
  std::fill_n(best, kLanes, -INFINITY);
  int64_t o = 0;
  for (; o + kLanes <= limit; o += kLanes) {
    for (int i = 0; i < kLanes; ++i) {
      const float least = approx[o + i] - norm * slack[o + i];
      best[i] = least > best[i] ? least : best[i];  // NaN never
    }
  }
  for (; o < limit; ++o) best[0] = std::max(best[0], approx[o] - norm * slack[o]);
  return *std::max_element(best, best + kLanes);
}

// Rows that may reach it. Comparisons are such that NaN stays in.
std::vector<int32_t> Candidates(const float* approx, const float* slack, float norm, int64_t limit,
                                float certain) {
  std::vector<int32_t> found;
  for (int64_t begin = 0; begin < limit; begin += kLanes) {
    const int64_t end = std::min(limit, begin + kLanes);
    int out = 0;
    for (int64_t o = begin; o < end; ++o) out += approx[o] + norm * slack[o] < certain;
    if (out == end - begin) continue;
    for (int64_t o = begin; o < end; ++o) {
      if (!(approx[o] + norm * slack[o] < certain)) found.push_back(static_cast<int32_t>(o));
    }
  }
  return found;
}

struct Best {
  float value = -INFINITY;
  int32_t index = -1;
  bool has_nan = false;

  void Offer(float candidate, int32_t at) {
    has_nan = has_nan || std::isnan(candidate);
    if (index >= 0 && !(candidate > value)) return;
    value = candidate;
    index = at;
  }
};

// Computes candidates as `linear` does, to the bit, since it is what computes them.
int32_t BestOf(const Context& context, const ScreenedArgmaxArgs& args, int64_t row,
               const std::vector<int32_t>& candidates) {
  const int64_t in = args.x.shape[1];
  const int64_t bytes = DTypeBytes(args.weight.dtype);
  const int64_t most = std::min<int64_t>(kChunk, candidates.size());
  const auto gathered = std::make_unique_for_overwrite<std::byte[]>(most * in * bytes);
  std::vector<float> values(most);
  Best best;
  for (size_t begin = 0; begin < candidates.size(); begin += kChunk) {
    const int64_t count = std::min<int64_t>(kChunk, candidates.size() - begin);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t from = candidates[begin + i] * args.weight.stride[0];
      std::memcpy(gathered.get() + i * in * bytes, args.weight.data + from * bytes, in * bytes);
    }
    Tensor x = args.x;
    x.data = reinterpret_cast<std::byte*>(args.x.Row<float>(row));
    x.shape[0] = 1;
    const Tensor weight = {gathered.get(), args.weight.dtype, 2, {count, in}, {in, 1}};
    const Tensor y = {
        reinterpret_cast<std::byte*>(values.data()), DType::kF32, 2, {1, count}, {count, 1}};
    Linear(context, {x, weight, {}, y});
    for (int64_t i = 0; i < count; ++i) best.Offer(values[i], candidates[begin + i]);
  }
  return best.has_nan ? -1 : best.index;
}

float NormOf(const float* x, int64_t in) {
  double sum = 0;
  for (int64_t i = 0; i < in; ++i) sum += double{x[i]} * double{x[i]};
  return static_cast<float>(std::sqrt(sum));
}

}  // namespace

void ScreenedArgmax(const Context& context, const ScreenedArgmaxArgs& args) {
  const float* slack = args.slack.As<const float>();
  const int64_t rows = args.x.shape[0];
  std::vector<std::vector<int32_t>> candidates(rows);
  context.pool.ParallelFor(rows, [&](int64_t row, int) {
    const float* approx = args.approx.Row<const float>(row);
    const float norm = NormOf(args.x.Row<const float>(row), args.x.shape[1]);
    const float certain = CertainBest(approx, slack, norm, args.limit);
    candidates[row] = Candidates(approx, slack, norm, args.limit, certain);
  });
  for (int64_t row = 0; row < rows; ++row) {
    args.y.As<int32_t>()[row] = BestOf(context, args, row, candidates[row]);
    args.scored.As<int32_t>()[row] = static_cast<int32_t>(candidates[row].size());
  }
}

}  // namespace kernels
