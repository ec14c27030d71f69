#pragma once

#include <napi.h>

namespace kernels::binding {

// Adds one function per operation: op(device, arguments in the order of its Args struct).
void RegisterOps(Napi::Env env, Napi::Object exports);

}  // namespace kernels::binding
