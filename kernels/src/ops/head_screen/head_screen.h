#pragma once

#include "core/context.h"
#include "core/tensor.h"
#include "ops/packed_linear/packed_linear.h"

namespace kernels {

// Rounds a float weight to 8 bits, symmetric, with a bf16 scale per row and block of 128 inputs, in
// the layout of packedLinear; and bounds what that may change of a product.
struct PackRowsArgs {
  Tensor weight;        // [out, in] f32 | f16 | bf16
  PackedWeight packed;  // bits 8, zero 128, blocks of 128, bf16 scales; out
  // [out] f32, out: for every x, |packedLinear(x)[o] - linear(x)[o]| <= ‖x‖ * slack[o], all
  // roundings of both included. NaN for a row that is not finite.
  Tensor slack;
};
void CheckPackRows(const PackRowsArgs& args);
void PackRows(const Context& context, const PackRowsArgs& args);

// The index of the largest of the first `limit` values of linear(x, weight), the first of equals,
// or -1 if one of those that could be it is NaN: by computing exactly only those rows of the weight
// that the approximate values do not rule out.
struct ScreenedArgmaxArgs {
  Tensor x;       // [rows, in] f32
  Tensor approx;  // [rows, out] f32: packedLinear(x) of the packed weight
  Tensor weight;  // [out, in] f32 | f16 | bf16
  Tensor slack;   // [out] f32, from PackRows
  int64_t limit;  // 1 .. out
  Tensor y;       // [rows] i32, out
  Tensor scored;  // [rows] i32, out: rows of the weight that were computed exactly
};
void CheckScreenedArgmax(const ScreenedArgmaxArgs& args);
void ScreenedArgmax(const Context& context, const ScreenedArgmaxArgs& args);

}  // namespace kernels
