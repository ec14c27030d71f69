#include <napi.h>

#include "binding/cache_ops.h"
#include "binding/graphs.h"
#include "binding/handles.h"
#include "binding/machine.h"
#include "binding/ops.h"
#include "binding/packed_ops.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  kernels::binding::RegisterHandles(env, exports);
  kernels::binding::RegisterGraphs(env, exports);
  kernels::binding::RegisterMachine(env, exports);
  kernels::binding::RegisterOps(env, exports);
  kernels::binding::RegisterCacheOps(env, exports);
  kernels::binding::RegisterPackedOps(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(kernels, Init)
