#include "binding/machine.h"

#include "core/cpu_features.h"
#include "core/dispatch.h"

namespace kernels::binding {

namespace {

// cpuFeatures(): names of extensions
Napi::Value CpuFeatureNames(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const char* name : CpuFeatures()) {
    names.Set(names.Length(), Napi::String::New(info.Env(), name));
  }
  return names;
}

// candidates(): [operation, implementation, level it needs], fastest first within an operation
Napi::Value Candidates(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array rows = Napi::Array::New(env);
  for (const Listing& listing : Listings()) {
    for (const Listing::Entry& entry : listing.implementations) {
      Napi::Array row = Napi::Array::New(env, 3);
      row.Set(0u, Napi::String::New(env, listing.operation));
      row.Set(1u, Napi::String::New(env, entry.name));
      row.Set(2u, Napi::String::New(env, IsaName(entry.needs)));
      rows.Set(rows.Length(), row);
    }
  }
  return rows;
}

}  // namespace

void RegisterMachine(Napi::Env env, Napi::Object exports) {
  exports.Set("cpuFeatures", Napi::Function::New(env, CpuFeatureNames, "cpuFeatures"));
  exports.Set("candidates", Napi::Function::New(env, Candidates, "candidates"));
}

}  // namespace kernels::binding
