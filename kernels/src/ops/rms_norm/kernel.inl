// Included by avx2.cc and avx512.cc, after Lanes, in their target region.

template <class Weight>
void NormRow(const float* x, const Weight* weight, int64_t width, float epsilon, float* y) {
  const int64_t whole = width - width % Lanes::kWidth;
  const int tail = static_cast<int>(width - whole);
  // In double precision, so that no finite x overflows.
  WideSum squares = WideSum::Zero();
  for (int64_t i = 0; i < whole; i += Lanes::kWidth) {
    const Lanes value = Lanes::Load(x + i);
    squares.AddProduct(value, value);
  }
  if (tail > 0) {
    const Lanes value = Lanes::LoadPart(x + whole, tail);
    squares.AddProduct(value, value);
  }
  const double mean = squares.Sum() / static_cast<double>(width);
  const Lanes scale = Lanes::Set(static_cast<float>(1 / __builtin_sqrt(mean + epsilon)));
  for (int64_t i = 0; i < whole; i += Lanes::kWidth) {
    (Lanes::Load(x + i) * scale * Lanes::Load(weight + i)).Store(y + i);
  }
  if (tail > 0) {
    const Lanes value = Lanes::LoadPart(x + whole, tail) * scale;
    (value * Lanes::LoadPart(weight + whole, tail)).StorePart(y + whole, tail);
  }
}

template <class Weight>
void NormRows(const RmsNormArgs& args, int64_t begin, int64_t end) {
  const float* x = reinterpret_cast<const float*>(args.x.data);
  const Weight* weight = reinterpret_cast<const Weight*>(args.weight.data);
  float* y = reinterpret_cast<float*>(args.y.data);
  for (int64_t r = begin; r < end; ++r) {
    NormRow(x + r * args.x.stride[0], weight, args.x.shape[1], args.epsilon,
            y + r * args.y.stride[0]);
  }
}

void Normalize(const RmsNormArgs& args, int64_t begin, int64_t end) {
  if (args.weight.dtype == DType::kF32) NormRows<float>(args, begin, end);
  if (args.weight.dtype == DType::kF16) NormRows<F16>(args, begin, end);
  if (args.weight.dtype == DType::kBF16) NormRows<BF16>(args, begin, end);
}
