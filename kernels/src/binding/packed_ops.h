#pragma once

#include <napi.h>

namespace kernels::binding {

// Adds the operations on packed weights, and those that measure the machine.
void RegisterPackedOps(Napi::Env env, Napi::Object exports);

}  // namespace kernels::binding
