#include "core/dispatch.h"

#include "ops/rms_norm/rms_norm.h"

namespace kernels {

namespace reference {
void RmsNorm(const Context& context, const RmsNormArgs& args);
}

void RmsNorm(const Context& context, const RmsNormArgs& args) {
  static constexpr Candidate<RmsNormArgs> kCandidates[] = {
      {"reference", Isa::kScalar, Never<RmsNormArgs>, reference::RmsNorm},
  };
  Dispatch("rmsNorm", kCandidates, context, args);
}

}  // namespace kernels
