#include "core/dispatch.h"
#include "ops/linear/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<LinearArgs> kCandidates[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never<LinearArgs>, LinearAvx512},
    {"avx2", Isa::kAvx2, Never<LinearArgs>, LinearAvx2},
#endif
    {"reference", Isa::kScalar, Never<LinearArgs>, LinearReference},
};

const Operation kOperation("linear", kCandidates);

}  // namespace

void Linear(const Context& context, const LinearArgs& args) {
  kOperation.Run(context, args);
}

}  // namespace kernels
