#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// Rotary angles of one step (Su et al., arXiv:2104.09864, half-split form). Row r of the table
// holds cos(p * f_j) for j < dim / 2, then sin(p * f_j), with p = positions[r], f_j = base^(-2 j /
// dim) and the base of the row's sequence: dynamic NTK gives each sequence its own.
struct RopeTableArgs {
  Tensor positions;     // [rows] i32
  Tensor row_sequence;  // [rows] i32, index into base
  Tensor base;          // [sequences] f32
  Tensor table;         // [rows, dim] f32, out
};
void CheckRopeTable(const RopeTableArgs& args);
void RopeTable(const Context& context, const RopeTableArgs& args);

// Rotates every head of x in place: (a, b) -> (a cos - b sin, b cos + a sin), a and b being the
// halves.
struct RopeArgs {
  Tensor x;      // [rows, heads * dim] f32, inout
  Tensor table;  // [rows, dim] f32, from RopeTable
};
void CheckRope(const RopeArgs& args);
void Rope(const Context& context, const RopeArgs& args);

}  // namespace kernels
