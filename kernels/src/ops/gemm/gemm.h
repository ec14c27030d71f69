#pragma once

#include <cstdint>

#include "core/context.h"

namespace kernels {

// c += alpha * a b, alpha being +1 or -1, accumulated in f32: the dense product that the Hessian,
// the factorization and the quantizer are built from. Not an op of its own in TypeScript.
//
// Order of summation: k in blocks of a fixed size, within a block ascending in one fused chain per
// element, one addition to c per block. So an element's bits do not depend on m, n, or threads.
struct GemmArgs {
  int64_t m, n, k;
  const float* a;  // element (i, p) at a[i * a_row + p * a_column]
  int64_t a_row, a_column;
  const float* b;  // [k, n], rows b_row apart
  int64_t b_row;
  float* c;  // [m, n], rows c_row apart, inout
  int64_t c_row;
  float alpha;
  bool upper_only;  // compute only elements with column >= row (others may or may not be written)
};
void Gemm(const Context& context, const GemmArgs& args);

// The same with a pair of bf16 in the place of every float of a and b, the earlier in the lower
// half: k counts pairs. Products are exact and summed in f32.
void GemmBf16Pairs(const Context& context, const GemmArgs& args);

}  // namespace kernels
