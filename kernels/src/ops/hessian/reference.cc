#include <algorithm>
#include <vector>

#include "core/rows.h"
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

// Rows [row, row + count) of x in pairs, [(count + 1) / 2, n]: an odd last row is paired with
// zeros. With an original, of its difference from x.
struct PairSource {
  const Tensor& x;
  const Tensor* original;

  float At(int64_t row, int64_t column) const {
    const float value = x.Row<const float>(row)[column];
    return original == nullptr ? value : original->Row<const float>(row)[column] - value;
  }
};

void PackPairs(const Context& context, PairSource source, int64_t row, int64_t count,
               uint32_t* pairs) {
  const int64_t n = source.x.shape[1];
  context.pool.ParallelFor((count + 1) / 2, [&](int64_t pair, int) {
    const int64_t low = row + 2 * pair;
    const bool has_high = 2 * pair + 1 < count;
    uint32_t* to = pairs + pair * n;
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t upper = has_high ? ToBF16(source.At(low + 1, i)).bits : 0;
      to[i] = ToBF16(source.At(low, i)).bits | upper << 16;
    }
  });
}

struct Pairs {
  const uint32_t* data;
  int64_t width;
};

// c += a^T b.
void MultiplyPairs(const Context& context, Pairs a, Pairs b, int64_t pairs, float* c) {
  GemmBf16Pairs(context, {.m = a.width,
                          .n = b.width,
                          .k = pairs,
                          .a = reinterpret_cast<const float*>(a.data),
                          .a_row = 1,
                          .a_column = a.width,
                          .b = reinterpret_cast<const float*>(b.data),
                          .b_row = b.width,
                          .c = c,
                          .c_row = b.width,
                          .alpha = 1.0f,
                          .upper_only = a.data == b.data});
}

int64_t PairedElements(int64_t rows, int64_t n) {
  return std::max<int64_t>(1, (std::min(kRows, rows) + 1) / 2 * n);
}

void AccumulateBf16(const Context& context, const AccumulateGramArgs& args) {
  const int64_t rows = args.x.shape[0];
  const int64_t n = args.x.shape[1];
  auto* pairs =
      reinterpret_cast<uint32_t*>(context.pool.Shared(PairedElements(rows, n) * sizeof(uint32_t)));
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = std::min(kRows, rows - row);
    PackPairs(context, {args.x, nullptr}, row, count, pairs);
    MultiplyPairs(context, {pairs, n}, {pairs, n}, (count + 1) / 2, args.gram.As<float>());
  }
}

void CrossBf16(const Context& context, const AccumulateCrossArgs& args) {
  const int64_t rows = args.x.shape[0];
  const int64_t m = args.x.shape[1];
  const int64_t n = args.inputs.shape[1];
  const int64_t elements = PairedElements(rows, m) + PairedElements(rows, n);
  auto* differences = reinterpret_cast<uint32_t*>(context.pool.Shared(elements * sizeof(uint32_t)));
  uint32_t* inputs = differences + PairedElements(rows, m);
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = std::min(kRows, rows - row);
    PackPairs(context, {args.x, &args.original}, row, count, differences);
    PackPairs(context, {args.inputs, nullptr}, row, count, inputs);
    MultiplyPairs(context, {differences, m}, {inputs, n}, (count + 1) / 2, args.cross.As<float>());
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

void AccumulateCross(const Context& context, const AccumulateCrossArgs& args) {
  if (args.rounds_to_bf16) return CrossBf16(context, args);
  const int64_t rows = args.x.shape[0];
  const int64_t m = args.x.shape[1];
  const int64_t n = args.inputs.shape[1];
  std::vector<float> differences(std::min(kRows, rows) * m);
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = std::min(kRows, rows - row);
    context.pool.ParallelFor(count, [&](int64_t i, int) {
      const float* x = args.x.Row<const float>(row + i);
      const float* original = args.original.Row<const float>(row + i);
      for (int64_t j = 0; j < m; ++j) differences[i * m + j] = original[j] - x[j];
    });
    Gemm(context, {.m = m,
                   .n = n,
                   .k = count,
                   .a = differences.data(),
                   .a_row = 1,
                   .a_column = m,
                   .b = args.inputs.Row<float>(row),
                   .b_row = args.inputs.stride[0],
                   .c = args.cross.As<float>(),
                   .c_row = n,
                   .alpha = 1.0f,
                   .upper_only = false});
  }
}

void ScaleAndShift(const Context& context, const ScaleAndShiftArgs& args) {
  const int64_t n = args.matrix.shape[1];
  ForRows(context.pool, args.matrix.shape[0], n, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = args.matrix.Row<float>(i);
      for (int64_t j = 0; j < n; ++j) row[j] *= args.scale;
      if (args.shift != 0.0f) row[i] += args.shift;
    }
  });
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
