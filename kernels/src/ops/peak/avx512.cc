#include "ops/peak/implementations.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,f16c")

namespace kernels {

namespace {

using Vector = __m512i;
#include "ops/peak/blocks.inl"

int64_t Fma(int64_t repeats) {
  const auto step = [](Vector& sum, Vector x) {
    asm volatile("vfmadd231ps %1, %1, %0" : "+v"(sum) : "v"(x));
  };
  return RunBlocks(repeats, step, 16);
}

int64_t MultiplyPairs(int64_t repeats) {
  const auto step = [](Vector& sum, Vector x) {
    Vector products;
    asm volatile("vpmaddwd %2, %2, %1\n\tvpaddd %1, %0, %0" : "+v"(sum), "=&v"(products) : "v"(x));
  };
  return RunBlocks(repeats, step, 32);
}

int64_t DotPairs(int64_t repeats) {
  const auto step = [](Vector& sum, Vector x) {
    asm volatile("vpdpwssd %1, %1, %0" : "+v"(sum) : "v"(x));
  };
  return RunBlocks(repeats, step, 32);
}

int64_t DotBytes(int64_t repeats) {
  const auto step = [](Vector& sum, Vector x) {
    asm volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(x));
  };
  return RunBlocks(repeats, step, 64);
}

int64_t DotBf16(int64_t repeats) {
  const auto step = [](Vector& sum, Vector x) {
    asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(x));
  };
  return RunBlocks(repeats, step, 32);
}

}  // namespace

namespace avx512 {

#include "ops/peak/read.inl"

int64_t Peak(PeakKind kind, int64_t repeats) {
  if (kind == PeakKind::kF32) return Fma(repeats);
  return kind == PeakKind::kBf16 ? 0 : MultiplyPairs(repeats);
}

}  // namespace avx512

namespace avx512vnni {

int64_t Peak(PeakKind kind, int64_t repeats) {
  if (kind == PeakKind::kInt16) return DotPairs(repeats);
  return kind == PeakKind::kInt8 ? DotBytes(repeats) : avx512::Peak(kind, repeats);
}

}  // namespace avx512vnni

namespace avx512bf16 {

int64_t Peak(PeakKind kind, int64_t repeats) {
  return kind == PeakKind::kBf16 ? DotBf16(repeats) : avx512vnni::Peak(kind, repeats);
}

}  // namespace avx512bf16

}  // namespace kernels

#pragma GCC pop_options

#endif  // defined(__x86_64__)
