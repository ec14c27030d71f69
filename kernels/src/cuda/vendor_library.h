#pragma once

#include <dlfcn.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

// Libraries of NVIDIA that are opened at run time where a machine has them, and that nothing here
// is linked with.
namespace kernels::cuda {

class VendorLibrary {
 public:
  explicit VendorLibrary(const std::string& file)
      : handle_(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {}

  // Looks a function up. One that is missing makes the library useless.
  template <class Function>
  void Find(const char* name, Function& function) {
    if (handle_ == nullptr) return;
    function = reinterpret_cast<Function>(dlsym(handle_, name));
    if (function == nullptr) handle_ = nullptr;
  }

  bool works() const { return handle_ != nullptr; }

 private:
  void* handle_;  // is never closed
};

// The file that `chosen` names; none where it is "off"; where it is empty, versions of lib`name`.so
// as the system finds them.
std::vector<std::string> VendorFiles(const std::string& chosen, const std::string& name,
                                     std::initializer_list<int> versions);

// What `make` gives of the first library of which it gives something; null if none. Throws
// kUnsupported where a file that was chosen cannot be loaded.
template <class Make>
auto OpenVendorLibrary(const std::string& chosen, const std::string& name,
                       std::initializer_list<int> versions, Make make) {
  for (const std::string& file : VendorFiles(chosen, name, versions)) {
    VendorLibrary library(file);
    if (!library.works() && !chosen.empty()) {
      throw Error(Code::kUnsupported, name + ": " + dlerror());
    }
    if (!library.works()) continue;
    auto made = make(library);
    if (made != nullptr) return made;
  }
  return decltype(make(std::declval<VendorLibrary&>())){};
}

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
