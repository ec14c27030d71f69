#pragma once

#include "ops/elementwise/elementwise.h"

// What dispatch.cc chooses from.
namespace kernels::reference {
void Swiglu(const Context& context, const SwigluArgs& args);
}  // namespace kernels::reference

namespace kernels::avx2 {
void Swiglu(const Context& context, const SwigluArgs& args);
}  // namespace kernels::avx2

namespace kernels::avx512 {
void Swiglu(const Context& context, const SwigluArgs& args);
}  // namespace kernels::avx512
