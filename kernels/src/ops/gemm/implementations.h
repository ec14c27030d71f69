#pragma once

#include "ops/gemm/gemm.h"

namespace kernels {

namespace reference {
void Gemm(const Context& context, const GemmArgs& args);
}

#if defined(__x86_64__)
namespace avx2 {
void Gemm(const Context& context, const GemmArgs& args);
}
namespace avx512 {
void Gemm(const Context& context, const GemmArgs& args);
}
#endif

}  // namespace kernels
