#include <algorithm>
#include <bit>

#include "core/dtype.h"
#include "ops/gemm/implementations.h"

namespace kernels::reference {

namespace {

// Columns computed together, so that the row of sums stays in the first-level cache.
constexpr int64_t kColumns = 1024;

struct Floats {
  static double Product(float a, float b) { return double{a} * b; }
};

struct Bf16Pairs {
  static double Half(float pair, int shift) {
    const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(pair) >> shift);
    return ToFloat(BF16{bits});
  }
  static double Product(float a, float b) {
    return Half(a, 0) * Half(b, 0) + Half(a, 16) * Half(b, 16);
  }
};

template <class Elements>
void Strip(const GemmArgs& args, int64_t row, int64_t first, int64_t last, double* sums) {
  const int64_t columns = last - first;
  std::fill_n(sums, columns, 0.0);
  for (int64_t p = 0; p < args.k; ++p) {
    const float a = args.a[row * args.a_row + p * args.a_column];
    const float* b = args.b + p * args.b_row + first;
    for (int64_t j = 0; j < columns; ++j) sums[j] += Elements::Product(a, b[j]);
  }
  float* c = args.c + row * args.c_row + first;
  for (int64_t j = 0; j < columns; ++j) {
    c[j] = static_cast<float>(c[j] + args.alpha * sums[j]);
  }
}

template <class Elements>
void Run(const Context& context, const GemmArgs& args) {
  context.pool.ParallelFor(args.m, [&](int64_t row, int worker) {
    auto* sums = reinterpret_cast<double*>(context.pool.Scratch(worker, kColumns * sizeof(double)));
    for (int64_t j = args.upper_only ? row : 0; j < args.n; j += kColumns) {
      Strip<Elements>(args, row, j, std::min(args.n, j + kColumns), sums);
    }
  });
}

}  // namespace

void Gemm(const Context& context, const GemmArgs& args) {
  Run<Floats>(context, args);
}

void GemmBf16Pairs(const Context& context, const GemmArgs& args) {
  Run<Bf16Pairs>(context, args);
}

}  // namespace kernels::reference
