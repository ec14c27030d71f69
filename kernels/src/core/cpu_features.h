#pragma once

#include <cstdint>
#include <vector>

namespace kernels {

// Instruction-set levels an implementation may require. A level includes those before it.
enum class Isa : uint8_t { kScalar, kAvx2, kAvx512 };

// avx2: AVX2, FMA, F16C. avx512: additionally F, BW, VL, DQ. Probed once, operating system
// included.
Isa DetectIsa();

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
  }
  return "scalar";
}

}  // namespace kernels
