#include "ops/linear_gptq/implementations.h"
#include "ops/linear_gptq/tasks.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

namespace kernels::avx512 {

#include "core/simd_avx512.inl"
#include "ops/linear_gptq/words_avx512.inl"

constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;
constexpr int kDirectAccumulators = 16;
constexpr int kDirectRows = 4;

#include "ops/linear_gptq/kernel.inl"

}  // namespace kernels::avx512

#pragma GCC pop_options

namespace kernels {

void LinearGptqAvx512(const Context& context, const LinearGptqArgs& args) {
  RunGptqTasks(context, args, avx512::RunAnyTask);
}

}  // namespace kernels

#endif  // defined(__x86_64__)
