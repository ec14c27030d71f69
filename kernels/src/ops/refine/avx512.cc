#if defined(__x86_64__)

#include <immintrin.h>

#include "core/dtype.h"
#include "ops/refine/implementations.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

namespace kernels::avx512 {

namespace {
#include "core/simd_avx512.inl"
}

#include "ops/refine/kernel.inl"

}  // namespace kernels::avx512

#pragma GCC pop_options

#endif
