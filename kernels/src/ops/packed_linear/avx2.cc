#include "ops/packed_linear/implementations.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace kernels::avx2 {

#include "ops/packed_linear/quantize.inl"

namespace {

#include "core/simd_avx2.inl"

struct Ints {
  static constexpr int kWidth = 8;
  __m256i v;

  static Ints Zero() { return {_mm256_setzero_si256()}; }
  static Ints Set(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static Ints Load(const int32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static Ints LoadU8(const uint8_t* p) {
    return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  void Store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static Ints Add(Ints a, Ints b) { return {_mm256_add_epi32(a.v, b.v)}; }
  static Ints Multiply(Ints a, Ints b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
  static Ints And(Ints a, Ints b) { return {_mm256_and_si256(a.v, b.v)}; }
  static Ints ShiftLeft(Ints a, int bits) { return {_mm256_slli_epi32(a.v, bits)}; }
  static Ints ShiftRight(Ints a, int bits) { return {_mm256_srli_epi32(a.v, bits)}; }
  Lanes ToLanes() const { return {_mm256_cvtepi32_ps(v)}; }
};

[[gnu::always_inline]] inline Ints Dot(Ints sum, Ints codes, Ints x) {
  return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(codes.v, x.v))};
}

constexpr bool kHasBytes = false;
[[gnu::always_inline]] inline Ints DotBytes(Ints sum, Ints, Ints) {
  return sum;
}
[[gnu::always_inline]] inline Ints DotBytesWith(Ints sum, Ints, const int32_t*) {
  return sum;
}

constexpr int kDirectRows = 4;
constexpr int kTileRows = 5;
constexpr int kTileBlocks = 1;

}  // namespace

#include "ops/packed_linear/kernel.inl"

}  // namespace kernels::avx2

#pragma GCC pop_options

#endif  // defined(__x86_64__)
