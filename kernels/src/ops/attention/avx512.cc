#if defined(__x86_64__)

#include <immintrin.h>

#include "ops/attention/blocks.h"
#include "ops/attention/implementations.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

namespace kernels::avx512 {
namespace {
#include "core/simd_avx512.inl"

#include "core/exp.inl"
#include "ops/attention/tile.inl"

#include "ops/attention/kernel.inl"
}  // namespace
}  // namespace kernels::avx512

#pragma GCC pop_options

// Outside the region: what is instantiated from shared headers must not use its instructions.
namespace kernels::avx512 {

void Attention(const Context& context, const AttentionArgs& args) {
  ForQueryBlocks(context, args, AttendOver(args.k_cache.dtype));
}

}  // namespace kernels::avx512

#endif
