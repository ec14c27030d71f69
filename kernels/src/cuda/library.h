#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/accelerator.h"
#include "cuda/backend.h"

namespace kernels::cuda {

// The library of CUDA kernels, opened at run time. It stays loaded: CUDA does not like to go.
class Library {
 public:
  // Throws kUnsupported, naming the file and the reason, where it is missing, foreign or of another
  // version.
  explicit Library(const std::string& path);

  const Backend& backend() const { return *backend_; }

  // Throws kUnsupported where there is no driver.
  std::vector<DeviceDescription> Devices() const;

  // Throws kUnsupported where there is no such device, or its driver is too old.
  // A library of NVIDIA's that is chosen by file, see VendorFiles, must be loadable.
  std::unique_ptr<Accelerator> Open(int32_t device, const std::string& cublas_lt,
                                    const std::string& cusolver) const;

 private:
  const Backend* backend_;
};

}  // namespace kernels::cuda
