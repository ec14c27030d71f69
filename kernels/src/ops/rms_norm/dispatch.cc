#include "core/dispatch.h"
#include "ops/rms_norm/implementations.h"

namespace kernels {

void RmsNorm(const Context& context, const RmsNormArgs& args) {
  static constexpr Candidate<RmsNormArgs> kCandidates[] = {
#if defined(__x86_64__)
      {"avx512", Isa::kAvx512, Never<RmsNormArgs>, avx512::RmsNorm},
      {"avx2", Isa::kAvx2, Never<RmsNormArgs>, avx2::RmsNorm},
#endif
      {"reference", Isa::kScalar, Never<RmsNormArgs>, reference::RmsNorm},
  };
  Dispatch("rmsNorm", kCandidates, context, args);
}

}  // namespace kernels
