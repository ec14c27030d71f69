#include "core/dispatch.h"
#include "ops/cholesky/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<InverseCholeskyArgs> kCandidates[] = {
    {"blocked", Isa::kAvx2, Never, blocked::InverseCholesky},
    {"reference", Isa::kScalar, Never, reference::InverseCholesky},
};

const Operation kOperation("inverseCholesky", kCandidates);

}  // namespace

void InverseCholesky(const Context& context, const InverseCholeskyArgs& args) {
  kOperation.Run(context, args);
}

}  // namespace kernels
