#include "ops/packed_linear/implementations.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")

namespace kernels::avx512vnni {

namespace {

#include "core/simd_avx512.inl"
#include "ops/packed_linear/ints_avx512.inl"

[[gnu::always_inline]] inline Ints Dot(Ints sum, Ints codes, Ints x) {
  // Not the intrinsic: GCC 12 copies its sums between registers and memory.
  asm("vpdpwssd %2, %1, %0" : "+v"(sum.v) : "v"(codes.v), "v"(x.v));
  return sum;
}

constexpr bool kHasBytes = true;
[[gnu::always_inline]] inline Ints DotBytes(Ints sum, Ints codes, Ints x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(codes.v), "v"(x.v));
  return sum;
}
// With one x for every lane, straight from memory: it takes no register.
[[gnu::always_inline]] inline Ints DotBytesWith(Ints sum, Ints codes, const int32_t* x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum.v) : "v"(codes.v), "m"(*x));
  return sum;
}

constexpr int kDirectRows = 8;
constexpr int kTileRows = 6;
constexpr int kTileBlocks = 4;

}  // namespace

#include "ops/packed_linear/kernel.inl"

}  // namespace kernels::avx512vnni

#pragma GCC pop_options

#endif  // defined(__x86_64__)
