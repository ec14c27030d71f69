#if defined(__x86_64__)

#include <immintrin.h>

#include "core/rows.h"
#include "ops/softmax/implementations.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace kernels::avx2 {
namespace {
#include "core/simd_avx2.inl"

#include "core/exp.inl"
#include "ops/softmax/kernel.inl"
}  // namespace
}  // namespace kernels::avx2

#pragma GCC pop_options

// Outside the region: what is instantiated from shared headers must not use its instructions.
namespace kernels::avx2 {

void LogSoftmax(const Context& context, const LogSoftmaxArgs& args) {
  ForRows(context.pool, args.x.shape[0], args.x.shape[1],
          [&](int64_t begin, int64_t end, int) { LogSoftmaxRows(args, begin, end); });
}

void KlDivergence(const Context& context, const KlDivergenceArgs& args) {
  ForRows(context.pool, args.log_p.shape[0], args.log_p.shape[1],
          [&](int64_t begin, int64_t end, int) { KlDivergenceRows(args, begin, end); });
}

}  // namespace kernels::avx2

#endif
