#include "cuda/vendor_library.h"

#include "cuda/platform.h"

namespace kernels::cuda {

std::vector<std::string> VendorFiles(const std::string& chosen, const std::string& name,
                                     std::initializer_list<int> versions) {
  if (chosen == "off") return {};
  if (!chosen.empty()) return {chosen};
  std::vector<std::string> files;
  if (!platform::HasVendorLibraries()) return files;
  for (const int version : versions) {
    files.push_back("lib" + name + ".so." + std::to_string(version));
  }
  return files;
}

}  // namespace kernels::cuda
