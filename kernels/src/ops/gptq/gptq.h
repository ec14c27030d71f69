#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// How a group's scale and zero follow from the range of its weights (Frantar et al.,
// arXiv:2210.17323, and AutoGPTQ's quantizer.py). With maxq = 2^bits - 1:
//   symmetric:  m = max |w| over the group, scale = 2 m / maxq, zero = (maxq + 1) / 2
//   asymmetric: lo = min(w, 0), hi = max(w, 0), scale = (hi - lo) / maxq, zero = round(-lo / scale)
// A group of zeros counts as [-1, 1]. Rounding is to nearest even.
struct GridOptions {
  int bits;  // 2 .. 8
  bool symmetric;
  // AutoGPTQ's symmetric range of a group without negative weights is [0, m], with the same zero:
  // half of the grid is unused. Only for bit-compatibility.
  bool keeps_positive_range;
  // The symmetric grid runs from -2^(bits-1) to 2^(bits-1) - 1 steps: with this, the weight largest
  // in magnitude lies on its long side, scale = -extreme / 2^(bits-1), which may be negative, and a
  // step is 1/2^bits finer. (auto-round calls it full-range symmetric; llama.cpp's Q4_0 has it.)
  bool is_signed;
  // The scale is rounded to this dtype before it is used, so that what is stored is what was
  // optimized. A scale that would become zero is raised to the smallest positive number of the
  // dtype.
  DType scale_dtype;
  // Whether the range is shrunk to the share of it, 1.00, 0.99 ... 0.21, that gives the least sum
  // of squared rounding errors over the group (AutoGPTQ's `mse` with norm 2); the largest share
  // counts where several do.
  bool minimizes_error;
};

// Scales and zeros of all groups of a weight: group g covers columns [g * group_size, (g + 1) *
// group_size).
struct FindGridArgs {
  Tensor w;  // [out, in] f32
  GridOptions grid;
  int64_t group_size;
  Tensor importance;  // [in] f32, what a column's squared error counts; empty: all the same
  Tensor scales;      // [out, groups] f32, out
  Tensor zeros;       // [out, groups] i32, out
};
void CheckFindGrid(const FindGridArgs& args);
void FindGrid(const Context& context, const FindGridArgs& args);

// Rounds every weight to its group's grid: code = clamp(round(w / scale) + zero, 0, maxq), and
// replaces w by scale * (code - zero).
struct RoundToGridArgs {
  Tensor w;             // [out, in] f32, inout
  Tensor column_group;  // [in] i32
  int bits;
  Tensor scales;  // [out, groups] f32
  Tensor zeros;   // [out, groups] i32
  Tensor codes;   // [out, in] u8, out
};
void CheckRoundToGrid(const RoundToGridArgs& args);
void RoundToGrid(const Context& context, const RoundToGridArgs& args);

enum class RangeSource : int {
  kGiven = 0,    // scales and zeros are inputs
  kUpdated = 1,  // from the weights as corrected so far, inside the block too
  kStale = 2,    // as AutoGPTQ: from the weights as they were when the block began
};

// GPTQ on columns [begin, end): rounds one column after another and moves each column's error onto
// the later columns of the block, e = (w - q) / U[i, i], w[j] -= e U[i, j]. Columns after `end` are
// left to TrailingUpdate. With kUpdated and kStale a group's grid is found when its first column is
// reached; groups are then contiguous runs of equal column_group that lie inside the block.
struct GptqBlockArgs {
  Tensor w;       // [out, in] f32, inout: columns of the block become scale * (code - zero)
  Tensor factor;  // [in, in] f32, upper, from InverseCholesky
  int64_t begin, end;
  Tensor column_group;  // [in] i32
  GridOptions grid;
  RangeSource range;
  Tensor importance;  // [in] f32 or empty, as for FindGrid
  Tensor scales;      // [out, groups] f32, in or out
  Tensor zeros;       // [out, groups] i32, in or out
  Tensor codes;       // [out, in] u8, out (columns of the block)
  Tensor error;       // [out, end - begin] f32, dense, out
};
void CheckGptqBlock(const GptqBlockArgs& args);
void GptqBlock(const Context& context, const GptqBlockArgs& args);

// w[:, end:] -= error factor[begin:end, end:], end = begin + error's columns.
struct TrailingUpdateArgs {
  Tensor w;       // [out, in] f32, inout
  Tensor error;   // [out, block] f32
  Tensor factor;  // [in, in] f32
  int64_t begin;
};
void CheckTrailingUpdate(const TrailingUpdateArgs& args);
void TrailingUpdate(const Context& context, const TrailingUpdateArgs& args);

// y[o] = d H d^T with d = a[o] - b[o] (or a[o] where b is empty): the layer's squared output error,
// or its squared output, summed over the calibration tokens that made H. Products in f32, the sum
// of a row in f64.
struct QuadraticFormArgs {
  Tensor a;        // [out, in] f32
  Tensor b;        // [out, in] f32, or empty
  Tensor hessian;  // [in, in] f32, dense, symmetric
  Tensor y;        // [out] f32, out
};
void CheckQuadraticForm(const QuadraticFormArgs& args);
void QuadraticForm(const Context& context, const QuadraticFormArgs& args);

// y[o] += Σ_j (a[o, j] - b[o, j])², or a[o, j]² where b is empty; summed in double for each call.
struct AccumulateSquaresArgs {
  Tensor a;  // [out, n] f32
  Tensor b;  // [out, n] f32, or empty
  Tensor y;  // [out] f32, inout
};
void CheckAccumulateSquares(const AccumulateSquaresArgs& args);
void AccumulateSquares(const Context& context, const AccumulateSquaresArgs& args);

}  // namespace kernels
