#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// What a rounded weight can still gain, without leaving its format. With Ŵ = scale * (code - zero),
// a target W and a Hessian H, the loss is tr((W - Ŵ) H (W - Ŵ)^T): quadratic in every scale and in
// every code, so that each has a best value in closed form while all others stay.

// residual = (target - w) H: minus half the gradient of the loss.
struct ResidualArgs {
  Tensor target;    // [out, in] f32
  Tensor w;         // [out, in] f32
  Tensor hessian;   // [in, in] f32, dense, symmetric
  Tensor residual;  // [out, in] f32, dense, out
};
void CheckResidual(const ResidualArgs& args);
void Residual(const Context& context, const ResidualArgs& args);

// Coordinate descent on columns [begin, end), a number of sweeps over scales and then codes. A
// scale moves to where its group's loss is least, rounded to its dtype, if that lowers the loss; a
// code moves to the nearest to where its weight's loss is least. No step raises the loss, apart
// from rounding in f32. A scale may change only if its whole group lies within the columns.
struct RefineBlockArgs {
  Tensor w;         // [out, in] f32, inout: columns of the block become scale * (code - zero)
  Tensor residual;  // [out, in] f32, (target - w) H before the call; is not updated
  Tensor hessian;   // [in, in] f32, dense, symmetric, with a positive diagonal
  int64_t begin, end;
  Tensor column_group;  // [in] i32, contiguous runs
  int bits;
  DType scale_dtype;
  int sweeps;
  bool refines_scales;
  bool refines_codes;
  Tensor scales;  // [out, groups] f32, inout
  Tensor zeros;   // [out, groups] i32
  Tensor codes;   // [out, in] u8, inout (columns of the block)
  Tensor change;  // [out, end - begin] f32, dense, out: w after minus before
};
void CheckRefineBlock(const RefineBlockArgs& args);
void RefineBlock(const Context& context, const RefineBlockArgs& args);

// c += a b, or c -= a b.
struct AccumulateProductArgs {
  Tensor a;  // [m, k] f32
  Tensor b;  // [k, n] f32
  bool subtracts;
  Tensor c;  // [m, n] f32, inout
};
void CheckAccumulateProduct(const AccumulateProductArgs& args);
void AccumulateProduct(const Context& context, const AccumulateProductArgs& args);

}  // namespace kernels
