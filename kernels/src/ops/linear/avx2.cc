#include "ops/linear/implementations.h"
#include "ops/linear/tasks.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace kernels::avx2 {

#include "core/simd_avx2.inl"

constexpr int kTileRows = 4;
constexpr int kTileColumns = 3;

#include "ops/linear/kernel.inl"

}  // namespace kernels::avx2

#pragma GCC pop_options

namespace kernels {

void LinearAvx2(const Context& context, const LinearArgs& args) {
  RunLinearTasks(context, args, avx2::Lanes::kWidth, avx2::RunAnyTask);
}

}  // namespace kernels

#endif  // defined(__x86_64__)
