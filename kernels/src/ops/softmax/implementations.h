#pragma once

#include "ops/softmax/softmax.h"

// What dispatch.cc chooses from.
namespace kernels::reference {
void LogSoftmax(const Context& context, const LogSoftmaxArgs& args);
void KlDivergence(const Context& context, const KlDivergenceArgs& args);
}  // namespace kernels::reference

namespace kernels::avx2 {
void LogSoftmax(const Context& context, const LogSoftmaxArgs& args);
void KlDivergence(const Context& context, const KlDivergenceArgs& args);
}  // namespace kernels::avx2

namespace kernels::avx512 {
void LogSoftmax(const Context& context, const LogSoftmaxArgs& args);
void KlDivergence(const Context& context, const KlDivergenceArgs& args);
}  // namespace kernels::avx512
