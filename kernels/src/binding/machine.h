#pragma once

#include <napi.h>

namespace kernels::binding {

// Adds what tells about this processor and the implementations there are; no device is needed.
void RegisterMachine(Napi::Env env, Napi::Object exports);

}  // namespace kernels::binding
