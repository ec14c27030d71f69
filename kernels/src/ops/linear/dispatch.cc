#include "core/dispatch.h"
#include "ops/linear/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<LinearArgs> kCandidates[] = {
    {"reference", Isa::kScalar, Never<LinearArgs>, LinearReference},
};

}  // namespace

void Linear(const Context& context, const LinearArgs& args) {
  Dispatch("linear", kCandidates, context, args);
}

}  // namespace kernels
