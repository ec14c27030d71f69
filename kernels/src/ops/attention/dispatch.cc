#include "core/dispatch.h"
#include "ops/attention/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<AttentionArgs> kCandidates[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never<AttentionArgs>, avx512::Attention},
    {"avx2", Isa::kAvx2, Never<AttentionArgs>, avx2::Attention},
#endif
    {"reference", Isa::kScalar, Never<AttentionArgs>, reference::Attention},
};

const Operation kOperation("attention", kCandidates);

}  // namespace

void Attention(const Context& context, const AttentionArgs& args) {
  kOperation.Run(context, args);
}

}  // namespace kernels
