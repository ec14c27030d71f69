#include "core/dispatch.h"
#include "ops/linear_gptq/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<LinearGptqArgs> kCandidates[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never<LinearGptqArgs>, LinearGptqAvx512},
    {"avx2", Isa::kAvx2, Never<LinearGptqArgs>, LinearGptqAvx2},
#endif
    {"reference", Isa::kScalar, Never<LinearGptqArgs>, LinearGptqReference},
};

const Operation kOperation("linearGptq", kCandidates);

}  // namespace

void LinearGptq(const Context& context, const LinearGptqArgs& args) {
  kOperation.Run(context, args);
}

}  // namespace kernels
