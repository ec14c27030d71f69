#pragma once

#include "ops/cholesky/cholesky.h"

namespace kernels {

namespace reference {
void InverseCholesky(const Context& context, const InverseCholeskyArgs& args);
}

namespace blocked {
void InverseCholesky(const Context& context, const InverseCholeskyArgs& args);
}

// What is added to the diagonal: damping * mean(diag H).
double DampingTerm(const InverseCholeskyArgs& args);

// In double, on the upper triangle of the n x n matrix r (rows n apart; below is neither read nor
// written).

// H = R R^T, R replacing H. Returns 0, or 1 + the row whose pivot is not positive and finite.
int32_t FactorUpper(double* r, int64_t n);

// R^-1, replacing R.
void InvertUpper(double* r, int64_t n);

}  // namespace kernels
