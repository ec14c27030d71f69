#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "core/device.h"

// The two objects that cross the boundary, as tagged externals, and the conversion of errors.
namespace kernels::binding {

// A device and what answers its waits on the JavaScript thread.
struct DeviceHandle {
  std::shared_ptr<Device> device;
  Napi::ThreadSafeFunction deliver;
  int waits = 0;  // promises not yet settled; the event loop is held while there are any
  bool closed = false;
  bool ended = false;  // `device` and `deliver` are no longer this handle's
};

// A view and the storage it keeps alive; `storage` is null after dispose().
struct TensorHandle {
  std::shared_ptr<Storage> storage;
  Tensor view;
};

Napi::Error ToJsError(Napi::Env env, const Error& error);

Napi::Value WrapTensor(Napi::Env env, std::shared_ptr<Storage> storage, const Tensor& view);
TensorHandle& UnwrapTensor(const Napi::Value& value);
DeviceHandle& UnwrapDevice(const Napi::Value& value);

template <class T>
void Finalize(Napi::Env, T* value) {
  delete value;
}
template <>
void Finalize(Napi::Env env, DeviceHandle* handle);

// Externals that name what they hold, so that one passed in another's place is an error.
template <class T>
Napi::External<T> WrapTagged(Napi::Env env, T* value, const napi_type_tag& tag) {
  auto external = Napi::External<T>::New(env, value, Finalize<T>);
  external.TypeTag(&tag);
  return external;
}

template <class T>
T& UnwrapTagged(const Napi::Value& value, const napi_type_tag& tag, const char* what) {
  if (!value.IsExternal() || !value.As<Napi::External<T>>().CheckTypeTag(&tag)) {
    throw Error(Code::kValue, std::string("expected ") + what);
  }
  return *value.As<Napi::External<T>>().Data();
}

// Adds openDevice, openCudaDevice, cudaDevices, vendorLibraries, closeDevice, detectedIsa, memory,
// allocate, clear, narrow, reshape, dispose, mapFile, unmapFile, mapTensor, evict, write, read,
// sync.
void RegisterHandles(Napi::Env env, Napi::Object exports);

}  // namespace kernels::binding
