// The 32-bit words of as many columns as there are Lanes. Included beside core/simd_avx2.inl.
struct Words {
  __m256i v;

  static Words Load(const int32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static Words LoadPart(const int32_t* p, int n) {
    return {_mm256_maskload_epi32(p, Lanes::Mask(n))};
  }
  // Lane i reads word i / per_word, shifted down to code i % per_word; n words are there.
  static Words Spread(const int32_t* p, int n, int bits) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i bit = _mm256_mullo_epi32(lane, _mm256_set1_epi32(bits));
    const __m256i words = _mm256_permutevar8x32_epi32(LoadPart(p, n).v, _mm256_srli_epi32(bit, 5));
    return {_mm256_srlv_epi32(words, _mm256_and_si256(bit, _mm256_set1_epi32(31)))};
  }
  Words Add(int x) const { return {_mm256_add_epi32(v, _mm256_set1_epi32(x))}; }
  // 2^23 + ((word >> shift) & mask), exact: the code is the low end of the mantissa.
  Lanes Biased(int shift, int mask) const {
    const __m256i code = _mm256_and_si256(_mm256_srli_epi32(v, shift), _mm256_set1_epi32(mask));
    return {_mm256_castsi256_ps(_mm256_or_si256(code, _mm256_set1_epi32(0x4b000000)))};
  }
};
