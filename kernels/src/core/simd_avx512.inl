// Sixteen f32 lanes. Include inside a region opened with
//   #pragma GCC push_options
//   #pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
// and inside a namespace of that instruction set, after all headers. See simd_avx2.inl.
struct Lanes {
  static constexpr int kWidth = 16;
  __m512 v;

  static Lanes Zero() { return {_mm512_setzero_ps()}; }
  static Lanes Set(float x) { return {_mm512_set1_ps(x)}; }
  static Lanes Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  void Store(float* p) const { _mm512_storeu_ps(p, v); }

  // The first n lanes; the others read as zero and are not written.
  static __mmask16 Mask(int n) {
    return n >= kWidth ? __mmask16(0xffff) : __mmask16((1u << n) - 1);
  }
  static Lanes LoadPart(const float* p, int n) { return {_mm512_maskz_loadu_ps(Mask(n), p)}; }
  void StorePart(float* p, int n) const { _mm512_mask_storeu_ps(p, Mask(n), v); }

  static Lanes Load(const BF16* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
  }
  static Lanes Load(const F16* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
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
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(v), 16))};
  }
  Lanes HighBf16() const {
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), mask))};
  }

  // Unsigned bytes, and unsigned 32-bit integers below 2^24, as floats.
  static Lanes Load(const uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
  }
  static Lanes FromI32(__m512i x) { return {_mm512_cvtepi32_ps(x)}; }

  // a * b + c and c - a * b, rounded once.
  static Lanes MulAdd(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Lanes NegMulAdd(Lanes a, Lanes b, Lanes c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
  // The second operand where either is NaN, as the instruction does.
  static Lanes Min(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Lanes Max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
  // a < b ? yes : no per lane; no where either is NaN.
  static Lanes IfLess(Lanes a, Lanes b, Lanes yes, Lanes no) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
  }
  // To the nearest integer, ties to even.
  static Lanes Round(Lanes a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  // 2^n for integral n in [-126, 127].
  static Lanes Exp2Int(Lanes n) {
    const __m512i bits = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 23))};
  }
  // Always the same tree, whatever surrounds it.
  float Sum() const { return _mm512_reduce_add_ps(v); }
  float Largest() const { return _mm512_reduce_max_ps(v); }
};

// Not friends inside the class: GCC does not give those the region's target.
inline Lanes operator+(Lanes a, Lanes b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Lanes operator-(Lanes a, Lanes b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Lanes operator*(Lanes a, Lanes b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Lanes operator/(Lanes a, Lanes b) {
  return {_mm512_div_ps(a.v, b.v)};
}

// Folds two vectors into the halves of one.
inline Lanes FoldHalves(Lanes x, Lanes y) {
  const __m512 low = _mm512_shuffle_f32x4(x.v, y.v, 0x44);
  const __m512 high = _mm512_shuffle_f32x4(x.v, y.v, 0xee);
  return {_mm512_add_ps(low, high)};
}

// Folds four vectors at once: in each 128-bit part, lane i is the sum of the part of x[i].
inline Lanes FoldQuarters(const Lanes x[4]) {
  const __m512 a =
      _mm512_add_ps(_mm512_unpacklo_ps(x[0].v, x[1].v), _mm512_unpackhi_ps(x[0].v, x[1].v));
  const __m512 b =
      _mm512_add_ps(_mm512_unpacklo_ps(x[2].v, x[3].v), _mm512_unpackhi_ps(x[2].v, x[3].v));
  return {_mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee))};
}

// Lane i is the sum of the lanes of x[i], by the same tree for every i.
inline Lanes SumEach(const Lanes x[16]) {
  Lanes part[4];
  for (int i = 0; i < 4; ++i) {
    const Lanes a = FoldHalves(x[i], x[i + 4]);
    const Lanes b = FoldHalves(x[i + 8], x[i + 12]);
    const __m512 even = _mm512_shuffle_f32x4(a.v, b.v, 0x88);
    const __m512 odd = _mm512_shuffle_f32x4(a.v, b.v, 0xdd);
    part[i] = {_mm512_add_ps(even, odd)};
  }
  return FoldQuarters(part);
}

// A sum of many lanes in double precision. The order depends only on the number of additions.
struct WideSum {
  __m512d low, high;

  static WideSum Zero() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }

  static __m512d Low(Lanes x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x.v)); }
  static __m512d High(Lanes x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1)); }

  void Add(Lanes x) {
    low = _mm512_add_pd(low, Low(x));
    high = _mm512_add_pd(high, High(x));
  }
  void AddProduct(Lanes a, Lanes b) {
    low = _mm512_fmadd_pd(Low(a), Low(b), low);
    high = _mm512_fmadd_pd(High(a), High(b), high);
  }
  double Sum() const { return _mm512_reduce_add_pd(_mm512_add_pd(low, high)); }
};
