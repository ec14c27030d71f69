#include "ops/linear/implementations.h"
#include "ops/linear/tasks.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

namespace kernels::avx512 {

#include "core/simd_avx512.inl"

constexpr int kTileRows = 4;
constexpr int kTileColumns = 6;

#include "ops/linear/kernel.inl"

}  // namespace kernels::avx512

#pragma GCC pop_options

namespace kernels {

void LinearAvx512(const Context& context, const LinearArgs& args) {
  RunLinearTasks(context, args, avx512::Lanes::kWidth, avx512::RunAnyTask);
}

}  // namespace kernels

#endif  // defined(__x86_64__)
