// The 32-bit words of as many columns as there are Lanes. Included beside core/simd_avx512.inl.
struct Words {
  __m512i v;

  static Words Load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static Words LoadPart(const int32_t* p, int n) {
    return {_mm512_maskz_loadu_epi32(Lanes::Mask(n), p)};
  }
  // Lane i reads word i / per_word, shifted down to code i % per_word; n words are there.
  static Words Spread(const int32_t* p, int n, int bits) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i bit = _mm512_mullo_epi32(lane, _mm512_set1_epi32(bits));
    const __m512i words = _mm512_permutexvar_epi32(_mm512_srli_epi32(bit, 5), LoadPart(p, n).v);
    return {_mm512_srlv_epi32(words, _mm512_and_si512(bit, _mm512_set1_epi32(31)))};
  }
  Words Add(int x) const { return {_mm512_add_epi32(v, _mm512_set1_epi32(x))}; }
  // 2^23 + ((word >> shift) & mask), exact: the code is the low end of the mantissa.
  Lanes Biased(int shift, int mask) const {
    constexpr int kAndOr = 0xea;  // (a & b) | c
    return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_srli_epi32(v, shift),
                                                          _mm512_set1_epi32(mask),
                                                          _mm512_set1_epi32(0x4b000000), kAndOr))};
  }
};
