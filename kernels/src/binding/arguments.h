#pragma once

#include <napi.h>

#include <cstdint>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include "binding/handles.h"

namespace kernels::binding {

// Reads the positional arguments of one call, checking every type. Throws Error naming op and
// index.
class Arguments {
 public:
  Arguments(const char* op, const Napi::CallbackInfo& info) : op_(op), info_(info) {}

  DeviceHandle& Device();
  // A tensor that is only read. null is refused, also a tensor that was disposed, and after
  // Device() one that lives on another: only one device's order of operations protects its memory.
  kernels::Tensor Tensor();
  kernels::Tensor OptionalTensor();  // null becomes an empty view
  // A tensor that is written: no mapped file, and no memory of another argument.
  kernels::Tensor Output();
  kernels::Tensor OptionalOutput();  // null becomes an empty view
  // The same where the operation allows it to be one of its inputs, or interleaved with them.
  kernels::Tensor InPlaceOutput();
  int64_t Integer();
  int64_t Integer(int64_t lowest, int64_t highest);
  float Float();
  bool Boolean();
  std::string String();
  DType Dtype();  // by name, "f32"
  Napi::Value Any();

 private:
  Napi::Value Next();
  bool SkipNull();
  kernels::Tensor View(const Napi::Value& value, bool written);
  void RequireUnshared(const kernels::Tensor& tensor, bool written);
  void RequireForTensor(bool condition, const std::string& problem);
  [[noreturn]] void Fail(const char* expected);

  const char* op_;
  const Napi::CallbackInfo& info_;
  size_t index_ = 0;
  const kernels::Device* device_ = nullptr;

  struct Use {
    kernels::Tensor tensor;
    bool written;
    size_t index;
  };
  std::vector<Use> uses_;
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
  } catch (const std::system_error& error) {
    throw ToJsError(env, Error(Code::kDevice, std::string("the system refused: ") + error.what()));
  }
}

}  // namespace kernels::binding
