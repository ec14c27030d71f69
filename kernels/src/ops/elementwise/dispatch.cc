#include "core/dispatch.h"
#include "ops/elementwise/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<SwigluArgs> kCandidates[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never<SwigluArgs>, avx512::Swiglu},
    {"avx2", Isa::kAvx2, Never<SwigluArgs>, avx2::Swiglu},
#endif
    {"reference", Isa::kScalar, Never<SwigluArgs>, reference::Swiglu},
};

const Operation kOperation("swiglu", kCandidates);

}  // namespace

void Swiglu(const Context& context, const SwigluArgs& args) {
  kOperation.Run(context, args);
}

}  // namespace kernels
