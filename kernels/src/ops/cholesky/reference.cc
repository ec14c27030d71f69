#include <cmath>
#include <vector>

#include "ops/cholesky/implementations.h"

namespace kernels::reference {

namespace {

// H = R R^T column by column from the last; R replaces the upper triangle. Returns 0, or 1 + the
// row whose pivot is not positive.
int32_t Factor(double* r, int64_t n) {
  for (int64_t j = n - 1; j >= 0; --j) {
    double pivot = r[j * n + j];
    for (int64_t p = j + 1; p < n; ++p) pivot -= r[j * n + p] * r[j * n + p];
    if (!(pivot > 0) || !std::isfinite(pivot)) return static_cast<int32_t>(j + 1);
    const double root = std::sqrt(pivot);
    r[j * n + j] = root;
    for (int64_t i = 0; i < j; ++i) {
      double value = r[i * n + j];
      for (int64_t p = j + 1; p < n; ++p) value -= r[i * n + p] * r[j * n + p];
      r[i * n + j] = value / root;
    }
  }
  return 0;
}

// U = R^-1 in place, row by row from the last: U[i] = (e_i - sum_{p > i} R[i, p] U[p]) / R[i, i].
void Invert(double* r, int64_t n) {
  std::vector<double> row(n);
  for (int64_t i = n - 1; i >= 0; --i) {
    for (int64_t j = i; j < n; ++j) {
      row[j] = r[i * n + j];
      r[i * n + j] = i == j ? 1.0 : 0.0;
    }
    for (int64_t p = i + 1; p < n; ++p) {
      for (int64_t j = p; j < n; ++j) r[i * n + j] -= row[p] * r[p * n + j];
    }
    for (int64_t j = i; j < n; ++j) r[i * n + j] /= row[i];
  }
}

}  // namespace

void InverseCholesky(const Context&, const InverseCholeskyArgs& args) {
  const int64_t n = args.hessian.shape[0];
  const float* hessian = args.hessian.As<float>();
  float* factor = args.factor.As<float>();
  const double damping = DampingTerm(args);
  std::vector<double> r(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) r[i * n + j] = hessian[i * n + j];
    r[i * n + i] += damping;
  }
  const int32_t status = Factor(r.data(), n);
  *args.status.As<int32_t>() = status;
  if (status != 0) return;
  Invert(r.data(), n);
  for (int64_t i = 0; i < n * n; ++i) factor[i] = static_cast<float>(r[i]);
}

}  // namespace kernels::reference
