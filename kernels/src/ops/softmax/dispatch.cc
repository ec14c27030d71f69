#include "core/dispatch.h"
#include "ops/softmax/implementations.h"

namespace kernels {

void LogSoftmax(const Context& context, const LogSoftmaxArgs& args) {
  static constexpr Candidate<LogSoftmaxArgs> kCandidates[] = {
#if defined(__x86_64__)
      {"avx512", Isa::kAvx512, Never<LogSoftmaxArgs>, avx512::LogSoftmax},
      {"avx2", Isa::kAvx2, Never<LogSoftmaxArgs>, avx2::LogSoftmax},
#endif
      {"reference", Isa::kScalar, Never<LogSoftmaxArgs>, reference::LogSoftmax},
  };
  Dispatch("logSoftmax", kCandidates, context, args);
}

void KlDivergence(const Context& context, const KlDivergenceArgs& args) {
  static constexpr Candidate<KlDivergenceArgs> kCandidates[] = {
#if defined(__x86_64__)
      {"avx512", Isa::kAvx512, Never<KlDivergenceArgs>, avx512::KlDivergence},
      {"avx2", Isa::kAvx2, Never<KlDivergenceArgs>, avx2::KlDivergence},
#endif
      {"reference", Isa::kScalar, Never<KlDivergenceArgs>, reference::KlDivergence},
  };
  Dispatch("klDivergence", kCandidates, context, args);
}

}  // namespace kernels
