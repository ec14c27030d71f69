#include "core/dispatch.h"
#include "ops/softmax/implementations.h"

namespace kernels {

namespace {

constexpr Candidate<LogSoftmaxArgs> kLogSoftmax[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never<LogSoftmaxArgs>, avx512::LogSoftmax},
    {"avx2", Isa::kAvx2, Never<LogSoftmaxArgs>, avx2::LogSoftmax},
#endif
    {"reference", Isa::kScalar, Never<LogSoftmaxArgs>, reference::LogSoftmax},
};

const Operation kLogSoftmaxOperation("logSoftmax", kLogSoftmax);

constexpr Candidate<KlDivergenceArgs> kKlDivergence[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never<KlDivergenceArgs>, avx512::KlDivergence},
    {"avx2", Isa::kAvx2, Never<KlDivergenceArgs>, avx2::KlDivergence},
#endif
    {"reference", Isa::kScalar, Never<KlDivergenceArgs>, reference::KlDivergence},
};

const Operation kKlDivergenceOperation("klDivergence", kKlDivergence);

}  // namespace

void LogSoftmax(const Context& context, const LogSoftmaxArgs& args) {
  kLogSoftmaxOperation.Run(context, args);
}

void KlDivergence(const Context& context, const KlDivergenceArgs& args) {
  kKlDivergenceOperation.Run(context, args);
}

}  // namespace kernels
