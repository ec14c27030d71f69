#include "core/cpu_features.h"

namespace kernels {

Isa DetectIsa() {
#if defined(__x86_64__)
  // The builtin consults cpuid and xgetbv, so a level the kernel does not save counts as absent.
  static const Isa isa = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c");
    if (!avx2) return Isa::kScalar;
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (!avx512) return Isa::kAvx2;
    if (!__builtin_cpu_supports("avx512vnni")) return Isa::kAvx512;
    return __builtin_cpu_supports("avx512bf16") ? Isa::kAvx512Bf16 : Isa::kAvx512Vnni;
  }();
  return isa;
#else
  return Isa::kScalar;
#endif
}

std::vector<const char*> CpuFeatures() {
  std::vector<const char*> features;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto add = [&](const char* name, bool is_present) {
    if (is_present) features.push_back(name);
  };
  // The builtin takes literals only.
  add("avx2", __builtin_cpu_supports("avx2"));
  add("fma", __builtin_cpu_supports("fma"));
  add("f16c", __builtin_cpu_supports("f16c"));
  add("avx512f", __builtin_cpu_supports("avx512f"));
  add("avx512bw", __builtin_cpu_supports("avx512bw"));
  add("avx512vl", __builtin_cpu_supports("avx512vl"));
  add("avx512dq", __builtin_cpu_supports("avx512dq"));
  add("avx512vnni", __builtin_cpu_supports("avx512vnni"));
  add("avx512bf16", __builtin_cpu_supports("avx512bf16"));
#endif
  return features;
}

}  // namespace kernels
