#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/dtype.h"
#include "cuda/platform.h"
#include "cuda/vendor_library.h"

namespace kernels::cuda {

// c += alpha a^T b. Rows lie along the depth; strides are in elements.
struct CublasLtProduct {
  DType dtype;  // of a and b: kF32 or kBF16; sums are f32
  int64_t rows, columns, depth;
  const void* a;  // [depth, rows]
  int64_t a_stride;
  const void* b;  // [depth, columns]
  int64_t b_stride;
  float* c;  // [rows, columns]
  int64_t c_stride;
  float alpha;
};

// NVIDIA's dense products. What is summed in which order depends on all of a product's shape, so
// only the quantizer uses them, whose rows need not be the same bits alone and among others.
class CublasLt {
 public:
  ~CublasLt();
  // For the current device; null where there is no library that works. `chosen` as in VendorFiles.
  static std::unique_ptr<CublasLt> Open(const std::string& chosen);
  // Such as "cuBLASLt 13.0.2".
  std::string Describe() const;

  // Whether there is more to gain than to lose.
  static bool IsWorthwhile(int64_t rows, int64_t columns, int64_t depth);
  // Enqueues a product. False, and nothing done, where it does not lie as the library's fast
  // kernels want it, or is refused.
  bool Multiply(platform::Stream stream, const CublasLtProduct& product) const;

 private:
  struct Functions;
  explicit CublasLt(std::unique_ptr<const Functions> functions);

  const std::unique_ptr<const Functions> functions_;
  VendorObject handle_;
};

}  // namespace kernels::cuda
