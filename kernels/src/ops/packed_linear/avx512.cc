#include "ops/packed_linear/implementations.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

namespace kernels::avx512 {

#include "ops/packed_linear/quantize.inl"

namespace {

#include "core/simd_avx512.inl"
#include "ops/packed_linear/ints_avx512.inl"

[[gnu::always_inline]] inline Ints Dot(Ints sum, Ints codes, Ints x) {
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(codes.v, x.v))};
}

constexpr bool kHasBytes = false;
[[gnu::always_inline]] inline Ints DotBytes(Ints sum, Ints, Ints) {
  return sum;
}
[[gnu::always_inline]] inline Ints DotBytesWith(Ints sum, Ints, const int32_t*) {
  return sum;
}

constexpr int kDirectRows = 8;
constexpr int kTileRows = 6;
constexpr int kTileBlocks = 4;

}  // namespace

#include "ops/packed_linear/kernel.inl"

}  // namespace kernels::avx512

#pragma GCC pop_options

#endif  // defined(__x86_64__)
