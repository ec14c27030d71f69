#pragma once

#include "ops/linear_gptq/linear_gptq.h"

// What dispatch.cc chooses from.
namespace kernels {

void LinearGptqReference(const Context& context, const LinearGptqArgs& args);
void LinearGptqAvx2(const Context& context, const LinearGptqArgs& args);
void LinearGptqAvx512(const Context& context, const LinearGptqArgs& args);

}  // namespace kernels
