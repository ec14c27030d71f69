#include "ops/linear_gptq/implementations.h"
#include "ops/linear_gptq/tasks.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace kernels::avx2 {

#include "core/simd_avx2.inl"
#include "ops/linear_gptq/words_avx2.inl"

constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;
constexpr int kDirectAccumulators = 8;
constexpr int kDirectRows = 4;

#include "ops/linear_gptq/kernel.inl"

}  // namespace kernels::avx2

#pragma GCC pop_options

namespace kernels {

void LinearGptqAvx2(const Context& context, const LinearGptqArgs& args) {
  RunGptqTasks(context, args, avx2::RunAnyTask);
}

}  // namespace kernels

#endif  // defined(__x86_64__)
