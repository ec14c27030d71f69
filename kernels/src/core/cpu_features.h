#pragma once

#include <cstdint>
#include <vector>

namespace kernels {

// Instruction-set levels an implementation may require. A level includes those before it.
enum class Isa : uint8_t { kScalar, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16 };

// avx2: AVX2, FMA, F16C. avx512: additionally F, BW, VL, DQ. avx512-vnni: additionally VNNI.
// avx512-bf16: additionally BF16. Probed once, operating system included.
Isa DetectIsa();

constexpr Isa kIsaLevels[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni,
                              Isa::kAvx512Bf16};

// The extensions of this processor that matter here, also those that no kernel uses yet.
std::vector<const char*> CpuFeatures();

constexpr const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Vnni:
      return "avx512-vnni";
    case Isa::kAvx512Bf16:
      return "avx512-bf16";
  }
  return "scalar";
}

}  // namespace kernels
