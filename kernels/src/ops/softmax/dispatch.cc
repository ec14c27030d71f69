#include "core/dispatch.h"

#include "ops/softmax/softmax.h"

namespace kernels {

namespace reference {
void LogSoftmax(const Context& context, const LogSoftmaxArgs& args);
void KlDivergence(const Context& context, const KlDivergenceArgs& args);
}  // namespace reference

void LogSoftmax(const Context& context, const LogSoftmaxArgs& args) {
  static constexpr Candidate<LogSoftmaxArgs> kCandidates[] = {
      {"reference", Isa::kScalar, Never<LogSoftmaxArgs>, reference::LogSoftmax},
  };
  Dispatch("logSoftmax", kCandidates, context, args);
}

void KlDivergence(const Context& context, const KlDivergenceArgs& args) {
  static constexpr Candidate<KlDivergenceArgs> kCandidates[] = {
      {"reference", Isa::kScalar, Never<KlDivergenceArgs>, reference::KlDivergence},
  };
  Dispatch("klDivergence", kCandidates, context, args);
}

}  // namespace kernels
