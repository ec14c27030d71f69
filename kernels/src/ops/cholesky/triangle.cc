// The small factorization in double: all of the reference, and the diagonal blocks of the blocked
// implementation. Inner loops run along rows.
#include <cmath>

#include "ops/cholesky/implementations.h"

namespace kernels {

double DampingTerm(const InverseCholeskyArgs& args) {
  const int64_t n = args.hessian.shape[0];
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += args.hessian.As<float>()[i * (n + 1)];
  return n == 0 ? 0.0 : args.damping * (sum / static_cast<double>(n));
}

int32_t FactorUpper(double* r, int64_t n) {
  // Last column first: R[:, j] follows from H and the columns after it, as dot products of rows.
  for (int64_t j = n - 1; j >= 0; --j) {
    const double* right = r + j * n;
    double pivot = right[j];
    for (int64_t p = j + 1; p < n; ++p) pivot -= right[p] * right[p];
    if (!(pivot > 0) || !std::isfinite(pivot)) return static_cast<int32_t>(j + 1);
    const double root = std::sqrt(pivot);
    r[j * n + j] = root;
    for (int64_t i = 0; i < j; ++i) {
      double* left = r + i * n;
      // Four chains: an addition does not wait for the one before.
      double sums[4] = {};
      int64_t p = j + 1;
      for (; p + 4 <= n; p += 4) {
        for (int lane = 0; lane < 4; ++lane) sums[lane] += left[p + lane] * right[p + lane];
      }
      for (; p < n; ++p) sums[0] += left[p] * right[p];
      left[j] = (left[j] - ((sums[0] + sums[1]) + (sums[2] + sums[3]))) / root;
    }
  }
  return 0;
}

void InvertUpper(double* r, int64_t n) {
  // Last row first: U[i] = (e_i - sum over p > i of R[i, p] U[p]) / R[i, i]. U[p] starts at column
  // p, so with descending p the entry R[i, p] is still there when its turn comes.
  for (int64_t i = n - 1; i >= 0; --i) {
    double* row = r + i * n;
    const double inverse = 1.0 / row[i];
    row[i] = inverse;
    for (int64_t p = n - 1; p > i; --p) {
      const double* below = r + p * n;
      const double factor = -inverse * row[p];
      row[p] = 0;
      for (int64_t j = p; j < n; ++j) row[j] += factor * below[j];
    }
  }
}

}  // namespace kernels
