#pragma once

#include <dlfcn.h>

#include <initializer_list>
#include <type_traits>

// Libraries of NVIDIA that are opened at run time where a machine has them, and that nothing here
// is linked with.
namespace kernels::cuda {

class VendorLibrary {
 public:
  // The newest of `versions` of lib`name`.so, unless the environment's `variable` names another
  // file, or is "off". Throws kUnsupported where that file cannot be loaded.
  VendorLibrary(const char* variable, const char* name, std::initializer_list<int> versions);

  // Looks a function up. One that is missing makes the library useless.
  template <class Function>
  void Find(const char* name, Function& function) {
    if (handle_ == nullptr) return;
    function = reinterpret_cast<Function>(dlsym(handle_, name));
    if (function == nullptr) handle_ = nullptr;
  }

  bool works() const { return handle_ != nullptr; }

 private:
  void* handle_ = nullptr;  // is never closed
};

// Gives back what a library made.
class VendorObject {
 public:
  using Destroy = int (*)(void*);
  explicit VendorObject(Destroy destroy) : destroy_(destroy) {}
  VendorObject(const VendorObject&) = delete;
  VendorObject& operator=(const VendorObject&) = delete;
  ~VendorObject() {
    if (object_ != nullptr) destroy_(object_);
  }

  void** Address() { return &object_; }
  void* Get() const { return object_; }

 private:
  Destroy destroy_;
  void* object_ = nullptr;
};

}  // namespace kernels::cuda
