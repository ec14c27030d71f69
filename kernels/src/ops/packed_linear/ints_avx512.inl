// Sixteen i32 lanes; included where simd_avx512.inl is.
struct Ints {
  static constexpr int kWidth = 16;
  __m512i v;

  static Ints Zero() { return {_mm512_setzero_si512()}; }
  static Ints Set(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static Ints Load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static Ints LoadU8(const uint8_t* p) {
    return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  void Store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  static Ints Add(Ints a, Ints b) { return {_mm512_add_epi32(a.v, b.v)}; }
  static Ints Multiply(Ints a, Ints b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
  static Ints And(Ints a, Ints b) { return {_mm512_and_si512(a.v, b.v)}; }
  static Ints ShiftLeft(Ints a, unsigned bits) { return {_mm512_slli_epi32(a.v, bits)}; }
  static Ints ShiftRight(Ints a, unsigned bits) { return {_mm512_srli_epi32(a.v, bits)}; }
  Lanes ToLanes() const { return {_mm512_cvtepi32_ps(v)}; }
};
