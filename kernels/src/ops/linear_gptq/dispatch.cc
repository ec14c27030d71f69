#include "core/dispatch.h"
#include "ops/linear_gptq/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<LinearGptqArgs> kCandidates[] = {
    {"reference", Isa::kScalar, Never<LinearGptqArgs>, LinearGptqReference},
};

}  // namespace

void LinearGptq(const Context& context, const LinearGptqArgs& args) {
  Dispatch("linearGptq", kCandidates, context, args);
}

}  // namespace kernels
