#pragma once

#include "ops/gemm/gemm.h"

namespace kernels {

namespace reference {
void Gemm(const Context& context, const GemmArgs& args);
}

}  // namespace kernels
