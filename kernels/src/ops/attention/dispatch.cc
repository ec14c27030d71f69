#include "core/dispatch.h"

#include "ops/attention/attention.h"

namespace kernels {

namespace reference {
void Attention(const Context& context, const AttentionArgs& args);
}  // namespace reference
#if defined(__x86_64__)
namespace avx2 {
void Attention(const Context& context, const AttentionArgs& args);
}  // namespace avx2
namespace avx512 {
void Attention(const Context& context, const AttentionArgs& args);
}  // namespace avx512
#endif

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
