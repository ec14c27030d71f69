// Lanes of floats whose dtype is known at run time. Include where `Lanes` is.

// load(pointer to the elements), whatever their dtype.
template <class Load>
[[gnu::always_inline]] inline Lanes OfFloats(const std::byte* data, DType dtype, Load load) {
  switch (dtype) {
    case DType::kF16:
      return load(reinterpret_cast<const F16*>(data));
    case DType::kBF16:
      return load(reinterpret_cast<const BF16*>(data));
    default:
      return load(reinterpret_cast<const float*>(data));
  }
}

// Elements [at, at + count) of a vector, zeros where there is none.
inline Lanes LoadPartOrZero(const Tensor& x, int64_t at, int count) {
  if (x.empty()) return Lanes::Zero();
  return OfFloats(x.data, x.dtype,
                  [=](const auto* from) { return Lanes::LoadPart(from + at, count); });
}
