#include "core/dispatch.h"
#include "ops/rms_norm/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<RmsNormArgs> kCandidates[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never<RmsNormArgs>, avx512::RmsNorm},
    {"avx2", Isa::kAvx2, Never<RmsNormArgs>, avx2::RmsNorm},
#endif
    {"reference", Isa::kScalar, Never<RmsNormArgs>, reference::RmsNorm},
};

const Operation kOperation("rmsNorm", kCandidates);

}  // namespace

void RmsNorm(const Context& context, const RmsNormArgs& args) {
  kOperation.Run(context, args);
}

}  // namespace kernels
