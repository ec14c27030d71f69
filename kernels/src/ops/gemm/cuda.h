#pragma once

#include "cuda/session.h"
#include "ops/gemm/gemm.h"

namespace kernels::cuda {

// As kernels::Gemm and kernels::GemmBf16Pairs, on the GPU's memory; c meets its product once. They
// use no scratch memory. With a `status` in the GPU's memory that is not 0, nothing is done.
void Gemm(Session& session, const GemmArgs& args, const int32_t* status = nullptr);
void GemmBf16Pairs(Session& session, const GemmArgs& args);

}  // namespace kernels::cuda
