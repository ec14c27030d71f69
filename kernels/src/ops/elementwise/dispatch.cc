#include "core/dispatch.h"
#include "ops/elementwise/implementations.h"

namespace kernels {

void Swiglu(const Context& context, const SwigluArgs& args) {
  static constexpr Candidate<SwigluArgs> kCandidates[] = {
#if defined(__x86_64__)
      {"avx512", Isa::kAvx512, Never<SwigluArgs>, avx512::Swiglu},
      {"avx2", Isa::kAvx2, Never<SwigluArgs>, avx2::Swiglu},
#endif
      {"reference", Isa::kScalar, Never<SwigluArgs>, reference::Swiglu},
  };
  Dispatch("swiglu", kCandidates, context, args);
}

}  // namespace kernels
