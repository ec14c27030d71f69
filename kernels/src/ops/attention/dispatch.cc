#include "core/dispatch.h"

#include "ops/attention/attention.h"

namespace kernels {

namespace reference {
void Attention(const Context& context, const AttentionArgs& args);
}

void Attention(const Context& context, const AttentionArgs& args) {
  static constexpr Candidate<AttentionArgs> kCandidates[] = {
      {"reference", Isa::kScalar, Never<AttentionArgs>, reference::Attention},
  };
  Dispatch("attention", kCandidates, context, args);
}

}  // namespace kernels
