#include "cuda/vendor_library.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"
#include "cuda/platform.h"

namespace kernels::cuda {

VendorLibrary::VendorLibrary(const char* variable, const char* name,
                             std::initializer_list<int> versions) {
  const char* chosen = std::getenv(variable);
  if (chosen != nullptr && *chosen != '\0') {
    if (std::strcmp(chosen, "off") == 0) return;
    handle_ = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) {
      throw Error(Code::kUnsupported, std::string(variable) + ": " + dlerror());
    }
    return;
  }
  if (!platform::HasVendorLibraries()) return;
  for (const int version : versions) {
    const std::string file = "lib" + std::string(name) + ".so." + std::to_string(version);
    handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
  }
}

}  // namespace kernels::cuda
