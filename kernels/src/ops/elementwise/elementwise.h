#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// y = a + b.
struct AddArgs {
  Tensor a;  // [rows, width] f32
  Tensor b;  // [rows, width] f32
  Tensor y;  // [rows, width] f32, out; may be a or b
};
void CheckAdd(const AddArgs& args);
void Add(const Context& context, const AddArgs& args);

// y = up * silu(gate), silu(t) = t / (1 + exp(-t)) (Shazeer, arXiv:2002.05202).
struct SwigluArgs {
  Tensor up;    // [rows, width] f32
  Tensor gate;  // [rows, width] f32
  Tensor y;     // [rows, width] f32, out; may be up or gate
};
void CheckSwiglu(const SwigluArgs& args);
void Swiglu(const Context& context, const SwigluArgs& args);

// Converts between f32, f16 and bf16, to nearest even. counts[0] is raised by the values that
// became infinite, counts[1] by the non-zero values that became zero.
struct CastArgs {
  Tensor x;       // dense, f32 | f16 | bf16
  Tensor y;       // dense, same shape, f32 | f16 | bf16, out
  Tensor counts;  // [2] i32, inout
};
void CheckCast(const CastArgs& args);
void Cast(const Context& context, const CastArgs& args);

// Copies a matrix with a row stride into a dense one of the same dtype.
struct CopyArgs {
  Tensor x;  // [rows, width]
  Tensor y;  // [rows, width], dense, out
};
void CheckCopy(const CopyArgs& args);
void Copy(const Context& context, const CopyArgs& args);

// count[0] = how many values of x are NaN or infinite.
struct CountNonFiniteArgs {
  Tensor x;      // [rows, width] f32 | f16 | bf16
  Tensor count;  // [1] i32, out
};
void CheckCountNonFinite(const CountNonFiniteArgs& args);
void CountNonFinite(const Context& context, const CountNonFiniteArgs& args);

}  // namespace kernels
