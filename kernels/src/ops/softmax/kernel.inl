// Included by avx2.cc and avx512.cc, after Lanes and Exp, in their target region.

// NaN is ignored: it comes back through the sum of exponentials.
inline float LargestOf(const float* x, int64_t width) {
  const int64_t whole = width - width % Lanes::kWidth;
  Lanes most = Lanes::Set(-__builtin_inff());
  for (int64_t i = 0; i < whole; i += Lanes::kWidth) most = Lanes::Max(Lanes::Load(x + i), most);
  float largest = most.Largest();
  for (int64_t i = whole; i < width; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

inline void LogSoftmaxRow(const float* x, int64_t width, float* y) {
  const int64_t whole = width - width % Lanes::kWidth;
  const int tail = static_cast<int>(width - whole);
  const float largest = LargestOf(x, width);
  const Lanes shift = Lanes::Set(largest);
  WideSum sum = WideSum::Zero();
  for (int64_t i = 0; i < whole; i += Lanes::kWidth) sum.Add(Exp(Lanes::Load(x + i) - shift));
  if (tail > 0) {
    float rest[Lanes::kWidth];
    for (int i = 0; i < Lanes::kWidth; ++i) rest[i] = i < tail ? x[whole + i] : -__builtin_inff();
    sum.Add(Exp(Lanes::Load(rest) - shift));
  }
  // x - largest is exact near the largest values; adding the two first would round before that.
  const Lanes log_sum = Lanes::Set(static_cast<float>(__builtin_log(sum.Sum())));
  for (int64_t i = 0; i < whole; i += Lanes::kWidth) {
    (Lanes::Load(x + i) - shift - log_sum).Store(y + i);
  }
  if (tail > 0) (Lanes::LoadPart(x + whole, tail) - shift - log_sum).StorePart(y + whole, tail);
}

void LogSoftmaxRows(const LogSoftmaxArgs& args, int64_t begin, int64_t end) {
  const float* x = reinterpret_cast<const float*>(args.x.data);
  float* y = reinterpret_cast<float*>(args.y.data);
  for (int64_t r = begin; r < end; ++r) {
    LogSoftmaxRow(x + r * args.x.stride[0], args.x.shape[1], y + r * args.y.stride[0]);
  }
}

// Where p underflows to zero the difference counts as zero too, so that 0 * infinity is no NaN.
inline void AddDivergence(WideSum& sum, Lanes log_p, Lanes log_q) {
  const Lanes p = Exp(log_p);
  const Lanes smallest = Lanes::Set(0x1p-149f);
  sum.AddProduct(p, Lanes::IfLess(p, smallest, Lanes::Zero(), log_p - log_q));
}

inline double DivergenceOf(const float* log_p, const float* log_q, int64_t width) {
  const int64_t whole = width - width % Lanes::kWidth;
  const int tail = static_cast<int>(width - whole);
  WideSum sum = WideSum::Zero();
  for (int64_t i = 0; i < whole; i += Lanes::kWidth) {
    AddDivergence(sum, Lanes::Load(log_p + i), Lanes::Load(log_q + i));
  }
  // Lanes past the end read as zero in both: exp(0) * (0 - 0).
  if (tail > 0) {
    AddDivergence(sum, Lanes::LoadPart(log_p + whole, tail), Lanes::LoadPart(log_q + whole, tail));
  }
  return sum.Sum();
}

void KlDivergenceRows(const KlDivergenceArgs& args, int64_t begin, int64_t end) {
  const float* log_p = reinterpret_cast<const float*>(args.log_p.data);
  const float* log_q = reinterpret_cast<const float*>(args.log_q.data);
  float* y = reinterpret_cast<float*>(args.y.data);
  for (int64_t r = begin; r < end; ++r) {
    y[r] = static_cast<float>(DivergenceOf(log_p + r * args.log_p.stride[0],
                                           log_q + r * args.log_q.stride[0], args.log_p.shape[1]));
  }
}
