#include "core/dispatch.h"
#include "ops/attention/implementations.h"

namespace kernels {

void Attention(const Context& context, const AttentionArgs& args) {
  static constexpr Candidate<AttentionArgs> kCandidates[] = {
#if defined(__x86_64__)
      {"avx512", Isa::kAvx512, Never<AttentionArgs>, avx512::Attention},
      {"avx2", Isa::kAvx2, Never<AttentionArgs>, avx2::Attention},
#endif
      {"reference", Isa::kScalar, Never<AttentionArgs>, reference::Attention},
  };
  Dispatch("attention", kCandidates, context, args);
}

}  // namespace kernels
