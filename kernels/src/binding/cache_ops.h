#pragma once

#include <napi.h>

namespace kernels::binding {

// Adds the operations on keys and values.
void RegisterCacheOps(Napi::Env env, Napi::Object exports);

}  // namespace kernels::binding
