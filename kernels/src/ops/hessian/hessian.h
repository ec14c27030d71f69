#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// gram += x^T x, upper triangle and diagonal only; below the diagonal the content is undefined.
struct AccumulateGramArgs {
  Tensor x;     // [rows, n] f32
  Tensor gram;  // [n, n] f32, dense, inout
  // Whether x is rounded to bf16 first; products are then exact, and twice as fast where the
  // processor multiplies bf16.
  bool rounds_to_bf16;
};
void CheckAccumulateGram(const AccumulateGramArgs& args);
void AccumulateGram(const Context& context, const AccumulateGramArgs& args);

// Turns a sum of x^T x into a Hessian: scales the upper triangle, mirrors it below, reports the
// diagonal and then sets it to 1 where it is 0 (an input never seen), so that the matrix can be
// factored.
struct FinishHessianArgs {
  Tensor gram;  // [n, n] f32, dense, inout
  float scale;
  Tensor diagonal;  // [n] f32, out: before zeros became ones
};
void CheckFinishHessian(const FinishHessianArgs& args);
void FinishHessian(const Context& context, const FinishHessianArgs& args);

// cross += (original - x)^T inputs: how far values are from what they were meant to be, by the
// inputs that could make up for it.
struct AccumulateCrossArgs {
  Tensor x;         // [rows, m] f32
  Tensor original;  // [rows, m] f32
  Tensor inputs;    // [rows, n] f32; may be x
  Tensor cross;     // [m, n] f32, dense, inout
  bool rounds_to_bf16;
};
void CheckAccumulateCross(const AccumulateCrossArgs& args);
void AccumulateCross(const Context& context, const AccumulateCrossArgs& args);

// matrix *= scale, and then shift, unless it is zero, added to the diagonal of a square matrix.
struct ScaleAndShiftArgs {
  Tensor matrix;  // [m, n] f32, dense, inout
  float scale;
  float shift;
};
void CheckScaleAndShift(const ScaleAndShiftArgs& args);
void ScaleAndShift(const Context& context, const ScaleAndShiftArgs& args);

}  // namespace kernels
