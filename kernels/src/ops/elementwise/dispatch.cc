#include "core/dispatch.h"

#include "ops/elementwise/elementwise.h"

namespace kernels {

namespace reference {
void Swiglu(const Context& context, const SwigluArgs& args);
}

void Swiglu(const Context& context, const SwigluArgs& args) {
  static constexpr Candidate<SwigluArgs> kCandidates[] = {
      {"reference", Isa::kScalar, Never<SwigluArgs>, reference::Swiglu},
  };
  Dispatch("swiglu", kCandidates, context, args);
}

}  // namespace kernels
