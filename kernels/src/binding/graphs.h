#pragma once

#include <napi.h>

namespace kernels::binding {

// Adds beginCapture, endCapture, replay and disposeGraph.
void RegisterGraphs(Napi::Env env, Napi::Object exports);

}  // namespace kernels::binding
