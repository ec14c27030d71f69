#include "core/dispatch.h"
#include "ops/gemm/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<GemmArgs> kCandidates[] = {
    {"reference", Isa::kScalar, Never, reference::Gemm},
};

}  // namespace

void Gemm(const Context& context, const GemmArgs& args) {
  Dispatch("gemm", kCandidates, context, args);
}

}  // namespace kernels
