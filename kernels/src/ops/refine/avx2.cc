#if defined(__x86_64__)

#include <immintrin.h>

#include "core/dtype.h"
#include "ops/refine/implementations.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace kernels::avx2 {

namespace {
#include "core/simd_avx2.inl"
}

#include "ops/refine/kernel.inl"

}  // namespace kernels::avx2

#pragma GCC pop_options

#endif
