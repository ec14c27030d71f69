#include <algorithm>

#include "ops/gemm/gemm.h"
#include "ops/hessian/hessian.h"

namespace kernels {

namespace {

// Rows of x per product: keeps the columns that are packed together within a few pages.
constexpr int64_t kRows = 2048;

// The square handled at once when mirroring: two of them fit the first-level cache.
constexpr int64_t kTile = 64;

// Scales tile (rows from i0, columns from j0 >= i0) and writes its mirror image.
void FinishTile(const FinishHessianArgs& args, int64_t i0, int64_t j0) {
  const int64_t n = args.gram.shape[0];
  float* gram = args.gram.As<float>();
  const int64_t i1 = std::min(n, i0 + kTile);
  const int64_t j1 = std::min(n, j0 + kTile);
  for (int64_t i = i0; i < i1; ++i) {
    for (int64_t j = std::max(i, j0); j < j1; ++j) {
      const float value = gram[i * n + j] * args.scale;
      gram[i * n + j] = value;
      gram[j * n + i] = value;
    }
  }
}

void FinishDiagonal(const FinishHessianArgs& args, int64_t i) {
  float& value = args.gram.As<float>()[i * (args.gram.shape[0] + 1)];
  args.diagonal.As<float>()[i] = value;
  if (value == 0.0f) value = 1.0f;
}

// Rows [row, row + count) in pairs, [(count + 1) / 2, n]: an odd last row is paired with zeros.
void PackPairs(const Context& context, const Tensor& x, int64_t row, int64_t count,
               uint32_t* pairs) {
  const int64_t n = x.shape[1];
  context.pool.ParallelFor((count + 1) / 2, [&](int64_t pair, int) {
    const float* low = x.Row<const float>(row + 2 * pair);
    const float* high = 2 * pair + 1 < count ? x.Row<const float>(row + 2 * pair + 1) : nullptr;
    uint32_t* to = pairs + pair * n;
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t upper = high == nullptr ? 0 : ToBF16(high[i]).bits;
      to[i] = ToBF16(low[i]).bits | upper << 16;
    }
  });
}

void AccumulateBf16(const Context& context, const AccumulateGramArgs& args) {
  const int64_t rows = args.x.shape[0];
  const int64_t n = args.x.shape[1];
  auto* pairs = reinterpret_cast<uint32_t*>(
      context.pool.Shared(std::max<size_t>(1, std::min(kRows, rows) * n * sizeof(uint32_t))));
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = std::min(kRows, rows - row);
    PackPairs(context, args.x, row, count, pairs);
    const auto* both = reinterpret_cast<const float*>(pairs);
    GemmBf16Pairs(context, {.m = n,
                            .n = n,
                            .k = (count + 1) / 2,
                            .a = both,
                            .a_row = 1,
                            .a_column = n,
                            .b = both,
                            .b_row = n,
                            .c = args.gram.As<float>(),
                            .c_row = n,
                            .alpha = 1.0f,
                            .upper_only = true});
  }
}

}  // namespace

void AccumulateGram(const Context& context, const AccumulateGramArgs& args) {
  if (args.rounds_to_bf16) return AccumulateBf16(context, args);
  const int64_t rows = args.x.shape[0];
  const int64_t n = args.x.shape[1];
  for (int64_t row = 0; row < rows; row += kRows) {
    const float* x = args.x.Row<float>(row);
    const int64_t stride = args.x.stride[0];
    Gemm(context, {.m = n,
                   .n = n,
                   .k = std::min(kRows, rows - row),
                   .a = x,
                   .a_row = 1,
                   .a_column = stride,
                   .b = x,
                   .b_row = stride,
                   .c = args.gram.As<float>(),
                   .c_row = n,
                   .alpha = 1.0f,
                   .upper_only = true});
  }
}

void FinishHessian(const Context& context, const FinishHessianArgs& args) {
  const int64_t n = args.gram.shape[0];
  context.pool.ParallelFor((n + kTile - 1) / kTile, [&](int64_t tile, int) {
    const int64_t i0 = tile * kTile;
    for (int64_t j0 = i0; j0 < n; j0 += kTile) FinishTile(args, i0, j0);
    for (int64_t i = i0; i < std::min(n, i0 + kTile); ++i) FinishDiagonal(args, i);
  });
}

}  // namespace kernels
