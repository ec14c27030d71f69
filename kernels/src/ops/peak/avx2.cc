#include "ops/peak/implementations.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace kernels::avx2 {

#include "ops/peak/read.inl"

namespace {

using Vector = __m256i;
#include "ops/peak/blocks.inl"

}  // namespace

int64_t Peak(PeakKind kind, int64_t repeats) {
  if (kind == PeakKind::kF32) {
    const auto step = [](Vector& sum, Vector x) {
      asm volatile("vfmadd231ps %1, %1, %0" : "+x"(sum) : "x"(x));
    };
    return RunBlocks(repeats, step, 8);
  }
  if (kind == PeakKind::kBf16) return 0;
  // Eight bits are widened to sixteen: what saturates is of no use.
  const auto step = [](Vector& sum, Vector x) {
    Vector products;
    asm volatile("vpmaddwd %2, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(x));
  };
  return RunBlocks(repeats, step, 16);
}

}  // namespace kernels::avx2

#pragma GCC pop_options

#endif  // defined(__x86_64__)
