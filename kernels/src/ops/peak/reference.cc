#include "ops/peak/implementations.h"

namespace kernels::reference {

#include "ops/peak/read.inl"

namespace {

template <class T>
int64_t Scalar(int64_t repeats) {
  T sums[kPeakSums] = {};
  const volatile T one = 1;
  for (int64_t r = 0; r < repeats; ++r) {
    for (T& sum : sums) sum = sum * one + one;
  }
  volatile T kept = 0;
  for (const T sum : sums) kept = kept + sum;
  return kPeakSums;
}

}  // namespace

int64_t Peak(PeakKind kind, int64_t repeats) {
  if (kind == PeakKind::kF32) return Scalar<float>(repeats);
  if (kind == PeakKind::kBf16) return 0;
  return Scalar<uint32_t>(repeats);
}

}  // namespace kernels::reference
