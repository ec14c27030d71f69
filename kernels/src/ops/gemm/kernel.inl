// The register tile, kRows x (kVectors * Lanes::kWidth), shared by the instruction sets; the
// including file provides Lanes. Per k: kVectors loads of b, kRows broadcasts of a and
// kRows * kVectors fused multiply-adds into as many registers.
// One step of k of a tile: a sum gains the product of a float, or of both halves of a pair of bf16.
struct FloatProducts {
  [[gnu::always_inline]] static inline Lanes Add(Lanes left, Lanes right, Lanes sum) {
    return Lanes::MulAdd(left, right, sum);
  }
};
struct Bf16PairProducts {
  [[gnu::always_inline]] static inline Lanes Add(Lanes left, Lanes right, Lanes sum) {
    sum = Lanes::MulAdd(left.LowBf16(), right.LowBf16(), sum);
    return Lanes::MulAdd(left.HighBf16(), right.HighBf16(), sum);
  }
};

template <int kRows, int kVectors, class Products = FloatProducts>
struct RegisterTile {
  static constexpr int kColumns = kVectors * Lanes::kWidth;

  static void Run(int64_t k, const float* a, const float* b, float* c, int64_t c_row, float alpha,
                  int inside_rows, int inside_columns) {
    Lanes sum[kRows][kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = Lanes::Zero();
    }
    for (int64_t p = 0; p < k; ++p, a += kRows, b += kColumns) {
      Lanes right[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) right[v] = Lanes::Load(b + v * Lanes::kWidth);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Lanes left = Lanes::Set(a[i]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] = Products::Add(left, right[v], sum[i][v]);
      }
    }
    // alpha is +1 or -1, so this rounds only once.
    const Lanes sign = Lanes::Set(alpha);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      if (i >= inside_rows) break;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        float* target = c + i * c_row + v * Lanes::kWidth;
        const int inside = inside_columns - v * Lanes::kWidth;
        if (inside >= Lanes::kWidth) {
          Lanes::MulAdd(sign, sum[i][v], Lanes::Load(target)).Store(target);
        } else if (inside > 0) {
          Lanes::MulAdd(sign, sum[i][v], Lanes::LoadPart(target, inside)).StorePart(target, inside);
        }
      }
    }
  }
};
