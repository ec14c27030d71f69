#include "core/dispatch.h"
#include "ops/gemm/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<GemmArgs> kCandidates[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never, avx512::Gemm},
    {"avx2", Isa::kAvx2, Never, avx2::Gemm},
#endif
    {"reference", Isa::kScalar, Never, reference::Gemm},
};

const Operation kOperation("gemm", kCandidates);

}  // namespace

void Gemm(const Context& context, const GemmArgs& args) {
  kOperation.Run(context, args);
}

}  // namespace kernels
