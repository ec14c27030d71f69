#pragma once

#include "ops/gemm/gemm.h"

namespace kernels {

namespace reference {
void Gemm(const Context& context, const GemmArgs& args);
void GemmBf16Pairs(const Context& context, const GemmArgs& args);
}  // namespace reference

#if defined(__x86_64__)
namespace avx2 {
void Gemm(const Context& context, const GemmArgs& args);
void GemmBf16Pairs(const Context& context, const GemmArgs& args);
}  // namespace avx2
namespace avx512 {
void Gemm(const Context& context, const GemmArgs& args);
void GemmBf16Pairs(const Context& context, const GemmArgs& args);
}  // namespace avx512
namespace avx512bf16 {
void GemmBf16Pairs(const Context& context, const GemmArgs& args);
}
#endif

}  // namespace kernels
