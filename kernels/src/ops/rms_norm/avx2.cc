#if defined(__x86_64__)

#include <immintrin.h>

#include "core/rows.h"
#include "ops/rms_norm/implementations.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace kernels::avx2 {
namespace {
#include "core/simd_avx2.inl"

#include "ops/rms_norm/kernel.inl"
}  // namespace
}  // namespace kernels::avx2

#pragma GCC pop_options

// Outside the region: what is instantiated from shared headers must not use its instructions.
namespace kernels::avx2 {

void RmsNorm(const Context& context, const RmsNormArgs& args) {
  ForRows(context.pool, args.x.shape[0], args.x.shape[1],
          [&](int64_t begin, int64_t end, int) { Normalize(args, begin, end); });
}

}  // namespace kernels::avx2

#endif
