#pragma once

#include "ops/linear/linear.h"

// What dispatch.cc chooses from.
namespace kernels {

void LinearReference(const Context& context, const LinearArgs& args);
void LinearAvx2(const Context& context, const LinearArgs& args);
void LinearAvx512(const Context& context, const LinearArgs& args);

}  // namespace kernels
