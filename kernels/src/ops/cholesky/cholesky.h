#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// The upper factor U of the inverse of the damped Hessian: (H + d I)^-1 = U^T U, with
// d = damping * mean(diag H). Found without forming the inverse: factor H + d I = R R^T with R
// upper (a Cholesky factorization from the last row backwards), then U = R^-1.
struct InverseCholeskyArgs {
  Tensor hessian;  // [n, n] f32, dense, symmetric; the upper triangle is read
  float damping;   // fraction of the mean of the diagonal
  Tensor factor;   // [n, n] f32, dense, out; zeros below the diagonal
  Tensor
      status;  // [1] i32, out: 0, or 1 + the row whose pivot was not positive (factor is undefined)
};
void CheckInverseCholesky(const InverseCholeskyArgs& args);
void InverseCholesky(const Context& context, const InverseCholeskyArgs& args);

}  // namespace kernels
