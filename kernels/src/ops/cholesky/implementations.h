#pragma once

#include "ops/cholesky/cholesky.h"

namespace kernels {

namespace reference {
void InverseCholesky(const Context& context, const InverseCholeskyArgs& args);
}

// What is added to the diagonal: damping * mean(diag H).
inline double DampingTerm(const InverseCholeskyArgs& args) {
  const int64_t n = args.hessian.shape[0];
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += args.hessian.As<float>()[i * (n + 1)];
  return n == 0 ? 0.0 : args.damping * (sum / static_cast<double>(n));
}

}  // namespace kernels
