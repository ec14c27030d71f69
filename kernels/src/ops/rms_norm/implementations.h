#pragma once

#include "ops/rms_norm/rms_norm.h"

// What dispatch.cc chooses from.
namespace kernels::reference {
void RmsNorm(const Context& context, const RmsNormArgs& args);
}  // namespace kernels::reference

namespace kernels::avx2 {
void RmsNorm(const Context& context, const RmsNormArgs& args);
}  // namespace kernels::avx2

namespace kernels::avx512 {
void RmsNorm(const Context& context, const RmsNormArgs& args);
}  // namespace kernels::avx512
