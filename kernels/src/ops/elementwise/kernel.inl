// Included by avx2.cc and avx512.cc, after Lanes and Exp, in their target region.

// t / (1 + exp(-t)) without overflow: with e = exp(-|t|), the numerator is e for negative t.
inline Lanes Silu(Lanes gate) {
  // -200 * exp(-200) is far below the smallest f32, and -infinity would give NaN.
  const Lanes t = Lanes::Max(Lanes::Set(-200.0f), gate);
  const Lanes one = Lanes::Set(1.0f);
  const Lanes e = Exp(Lanes::Min(t, Lanes::Zero() - t));
  return t * Lanes::IfLess(t, Lanes::Zero(), e, one) / (one + e);
}

void SwigluRows(const SwigluArgs& args, int64_t begin, int64_t end) {
  const int64_t width = args.up.shape[1];
  const int64_t whole = width - width % Lanes::kWidth;
  const int tail = static_cast<int>(width - whole);
  for (int64_t r = begin; r < end; ++r) {
    const float* up = reinterpret_cast<const float*>(args.up.data) + r * args.up.stride[0];
    const float* gate = reinterpret_cast<const float*>(args.gate.data) + r * args.gate.stride[0];
    float* y = reinterpret_cast<float*>(args.y.data) + r * args.y.stride[0];
    for (int64_t i = 0; i < whole; i += Lanes::kWidth) {
      (Lanes::Load(up + i) * Silu(Lanes::Load(gate + i))).Store(y + i);
    }
    if (tail > 0) {
      const Lanes silu = Silu(Lanes::LoadPart(gate + whole, tail));
      (Lanes::LoadPart(up + whole, tail) * silu).StorePart(y + whole, tail);
    }
  }
}
