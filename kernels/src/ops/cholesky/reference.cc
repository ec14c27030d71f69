#include <vector>

#include "ops/cholesky/implementations.h"

namespace kernels::reference {

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
  const int32_t status = FactorUpper(r.data(), n);
  *args.status.As<int32_t>() = status;
  if (status != 0) return;
  InvertUpper(r.data(), n);
  for (int64_t i = 0; i < n * n; ++i) factor[i] = static_cast<float>(r[i]);
}

}  // namespace kernels::reference
