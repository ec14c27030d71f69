#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "cuda/platform.h"
#include "cuda/vendor_library.h"

namespace kernels::cuda {

// NVIDIA's factorizations.
class Cusolver {
 public:
  ~Cusolver();
  // For the current device and the stream; null where there is no library that works. `chosen` as
  // in VendorLibrary.
  static std::unique_ptr<Cusolver> Open(const std::string& chosen, platform::Stream stream);
  // Such as "cuSOLVER 12.0.4".
  std::string Describe() const;

  // Of InvertCholesky's scratch memory.
  struct Sizes {
    int factor_floats = 0;
    size_t invert_bytes = 0;
    int64_t Floats() const;
  };
  // False where the library refuses.
  bool AskSizes(float* matrix, int64_t n, Sizes* sizes) const;
  // Enqueues, of A = L L^T in the lower triangle of a matrix [n, n] that lies by columns, the
  // inverse of L in its place. The first of the two `info` on the device becomes 0, or the order of
  // a leading minor that is not positive. False where a part is refused; the matrix is undefined.
  bool InvertCholesky(float* matrix, int64_t n, const Sizes& sizes, float* scratch,
                      int32_t* info) const;

 private:
  struct Functions;
  std::array<int, 3> Version() const;
  explicit Cusolver(std::unique_ptr<const Functions> functions);

  const std::unique_ptr<const Functions> functions_;
  VendorObject handle_;
};

}  // namespace kernels::cuda
