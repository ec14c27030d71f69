// exp(x) for every lane: within 1 ulp where the result is a normal number, gradual underflow to
// zero below, infinity above 88.72, NaN for NaN. Include after Lanes, in its namespace.
//
// x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) is 1 + r + r^2 Q(r), Q of degree 4 fitted to the
// relative error (Remez, at most 2^-28). 2^n is applied in two steps, since n may leave the range
// of an exponent by one on either side (and, below, by as much as a subnormal needs).
#ifndef KERNELS_EXP_INLINE
#define KERNELS_EXP_INLINE inline
#endif
KERNELS_EXP_INLINE Lanes Exp(Lanes x) {
  // Beyond these bounds the result is infinite or rounds to zero. The operand order keeps NaN.
  x = Lanes::Min(Lanes::Set(89.0f), Lanes::Max(Lanes::Set(-104.0f), x));
  const Lanes n = Lanes::Round(x * Lanes::Set(0x1.715476p+0f));
  Lanes r = Lanes::NegMulAdd(n, Lanes::Set(0x1.62e43p-1f), x);
  r = Lanes::NegMulAdd(n, Lanes::Set(-0x1.05c61p-29f), r);
  Lanes q = Lanes::Set(0x1.6a23cep-10f);
  q = Lanes::MulAdd(q, r, Lanes::Set(0x1.123a2p-7f));
  q = Lanes::MulAdd(q, r, Lanes::Set(0x1.5558f2p-5f));
  q = Lanes::MulAdd(q, r, Lanes::Set(0x1.555492p-3f));
  q = Lanes::MulAdd(q, r, Lanes::Set(0x1.fffffcp-2f));
  const Lanes e = Lanes::MulAdd(q, r * r, r) + Lanes::Set(1.0f);
  const Lanes half = Lanes::Round(n * Lanes::Set(0.5f));
  return e * Lanes::Exp2Int(half) * Lanes::Exp2Int(n - half);
}
