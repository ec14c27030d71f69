#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

#include "binding/handles.h"

namespace kernels::binding {

// Reads the positional arguments of one call, checking every type. Throws Error naming op and
// index.
class Arguments {
 public:
  Arguments(const char* op, const Napi::CallbackInfo& info) : op_(op), info_(info) {}

  DeviceHandle& Device();
  kernels::Tensor Tensor();          // null is refused, also a tensor that was disposed
  kernels::Tensor OptionalTensor();  // null becomes an empty view
  int64_t Integer();
  int64_t Integer(int64_t lowest, int64_t highest);
  float Float();
  bool Boolean();
  std::string String();
  DType Dtype();  // by name, "f32"
  Napi::Value Any();

 private:
  Napi::Value Next();
  [[noreturn]] void Fail(const char* expected);

  const char* op_;
  const Napi::CallbackInfo& info_;
  size_t index_ = 0;
};

DType ParseDType(const char* op, const std::string& name);

// Runs `body` and turns every C++ exception into a JavaScript one with a `code`.
template <class Body>
Napi::Value Guard(Napi::Env env, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    throw ToJsError(env, error);
  } catch (const std::bad_alloc&) {
    throw ToJsError(env, Error(Code::kOutOfMemory, "out of host memory"));
  }
}

}  // namespace kernels::binding
