#pragma once

#include "ops/attention/attention.h"

// What dispatch.cc chooses from.
namespace kernels::reference {
void Attention(const Context& context, const AttentionArgs& args);
}  // namespace kernels::reference

namespace kernels::avx2 {
void Attention(const Context& context, const AttentionArgs& args);
}  // namespace kernels::avx2

namespace kernels::avx512 {
void Attention(const Context& context, const AttentionArgs& args);
}  // namespace kernels::avx512
