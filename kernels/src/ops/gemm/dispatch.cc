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

constexpr Candidate<GemmArgs> kBf16Pairs[] = {
#if defined(__x86_64__)
    {"avx512-bf16", Isa::kAvx512Bf16, Never, avx512bf16::GemmBf16Pairs},
    {"avx512", Isa::kAvx512, Never, avx512::GemmBf16Pairs},
    {"avx2", Isa::kAvx2, Never, avx2::GemmBf16Pairs},
#endif
    {"reference", Isa::kScalar, Never, reference::GemmBf16Pairs},
};

const Operation kOperation("gemm", kCandidates);
const Operation kBf16PairsOperation("gemmBf16", kBf16Pairs);

}  // namespace

void Gemm(const Context& context, const GemmArgs& args) {
  kOperation.Run(context, args);
}

void GemmBf16Pairs(const Context& context, const GemmArgs& args) {
  kBf16PairsOperation.Run(context, args);
}

}  // namespace kernels
