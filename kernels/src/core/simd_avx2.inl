// Eight f32 lanes. Include inside a region opened with
//   #pragma GCC push_options
//   #pragma GCC target("avx2,fma,f16c")
// and inside a namespace of that instruction set, after all headers. Implementations written
// against `Lanes` are shared by AVX2 and AVX-512 through a kernel.inl beside them.
struct Lanes {
  static constexpr int kWidth = 8;
  __m256 v;

  static Lanes Zero() { return {_mm256_setzero_ps()}; }
  static Lanes Set(float x) { return {_mm256_set1_ps(x)}; }
  static Lanes Load(const float* p) { return {_mm256_loadu_ps(p)}; }
  void Store(float* p) const { _mm256_storeu_ps(p, v); }

  // The first n lanes; the others read as zero and are not written.
  static __m256i Mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Lanes LoadPart(const float* p, int n) { return {_mm256_maskload_ps(p, Mask(n))}; }
  void StorePart(float* p, int n) const { _mm256_maskstore_ps(p, Mask(n), v); }

  static Lanes Load(const BF16* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
  }
  static Lanes Load(const F16* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  template <class T>
  static Lanes LoadPart(const T* p, int n) {
    if (n >= kWidth) return Load(p);
    T padded[kWidth] = {};
    for (int i = 0; i < n; ++i) padded[i] = p[i];
    return Load(padded);
  }

  // The halves of lanes that hold pairs of bf16.
  Lanes LowBf16() const {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(v), 16))};
  }
  Lanes HighBf16() const {
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000));
    return {_mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(v), mask))};
  }

  // Unsigned bytes, and unsigned 32-bit integers below 2^24, as floats.
  static Lanes Load(const uint8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))};
  }
  static Lanes FromI32(__m256i x) { return {_mm256_cvtepi32_ps(x)}; }

  // a * b + c and c - a * b, rounded once.
  static Lanes MulAdd(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static Lanes NegMulAdd(Lanes a, Lanes b, Lanes c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
  // The second operand where either is NaN, as the instruction does.
  static Lanes Min(Lanes a, Lanes b) { return {_mm256_min_ps(a.v, b.v)}; }
  static Lanes Max(Lanes a, Lanes b) { return {_mm256_max_ps(a.v, b.v)}; }
  // a < b ? yes : no per lane; no where either is NaN.
  static Lanes IfLess(Lanes a, Lanes b, Lanes yes, Lanes no) {
    return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
  }
  // To the nearest integer, ties to even.
  static Lanes Round(Lanes a) {
    return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  // 2^n for integral n in [-126, 127].
  static Lanes Exp2Int(Lanes n) {
    const __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(bits, 23))};
  }
  // Always the same tree, whatever surrounds it.
  float Sum() const {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    x = _mm_add_ss(x, _mm_shuffle_ps(x, x, 1));
    return _mm_cvtss_f32(x);
  }
  float Largest() const {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    x = _mm_max_ss(x, _mm_shuffle_ps(x, x, 1));
    return _mm_cvtss_f32(x);
  }
};

// Not friends inside the class: GCC does not give those the region's target.
inline Lanes operator+(Lanes a, Lanes b) {
  return {_mm256_add_ps(a.v, b.v)};
}
inline Lanes operator-(Lanes a, Lanes b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
inline Lanes operator*(Lanes a, Lanes b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
inline Lanes operator/(Lanes a, Lanes b) {
  return {_mm256_div_ps(a.v, b.v)};
}

// Folds four vectors at once: in each 128-bit part, lane i is the sum of the part of x[i].
inline Lanes FoldQuarters(const Lanes x[4]) {
  const __m256 a =
      _mm256_add_ps(_mm256_unpacklo_ps(x[0].v, x[1].v), _mm256_unpackhi_ps(x[0].v, x[1].v));
  const __m256 b =
      _mm256_add_ps(_mm256_unpacklo_ps(x[2].v, x[3].v), _mm256_unpackhi_ps(x[2].v, x[3].v));
  return {_mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee))};
}

// Lane i is the sum of the lanes of x[i], by the same tree for every i.
inline Lanes SumEach(const Lanes x[8]) {
  Lanes part[4];
  for (int i = 0; i < 4; ++i) {
    const __m256 low = _mm256_permute2f128_ps(x[i].v, x[i + 4].v, 0x20);
    const __m256 high = _mm256_permute2f128_ps(x[i].v, x[i + 4].v, 0x31);
    part[i] = {_mm256_add_ps(low, high)};
  }
  return FoldQuarters(part);
}

// A sum of many lanes in double precision. The order depends only on the number of additions.
struct WideSum {
  __m256d low, high;

  static WideSum Zero() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }

  static __m256d Low(Lanes x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x.v)); }
  static __m256d High(Lanes x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1)); }

  void Add(Lanes x) {
    low = _mm256_add_pd(low, Low(x));
    high = _mm256_add_pd(high, High(x));
  }
  void AddProduct(Lanes a, Lanes b) {
    low = _mm256_fmadd_pd(Low(a), Low(b), low);
    high = _mm256_fmadd_pd(High(a), High(b), high);
  }
  double Sum() const {
    const __m256d both = _mm256_add_pd(low, high);
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(both), _mm256_extractf128_pd(both, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
  }
};
