#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/dtype.h"

namespace kernels {

constexpr int kMaxRank = 4;

// A view of memory that somebody else owns; cheap to copy. Strides are in elements. The device's
// stream order keeps the memory alive until every operation enqueued with the view has run.
struct Tensor {
  std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  std::array<int64_t, kMaxRank> stride{};

  bool empty() const { return data == nullptr; }
  int64_t elements() const {
    int64_t count = 1;
    for (int i = 0; i < rank; ++i) count *= shape[i];
    return count;
  }
  bool contiguous() const {
    if (elements() == 0) return true;
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && stride[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
  // Bytes from the first element to the end of the last.
  int64_t extent() const {
    if (elements() == 0) return 0;
    int64_t last = 0;
    for (int i = 0; i < rank; ++i) last += (shape[i] - 1) * stride[i];
    return (last + 1) * DTypeBytes(dtype);
  }
  template <class T>
  T* As() const {
    return reinterpret_cast<T*>(data);
  }
  // Row `index` of a matrix whose rows are `stride[0]` elements apart.
  template <class T>
  T* Row(int64_t index) const {
    return As<T>() + index * stride[0];
  }
};

// "[3, 256] bf16", for messages.
std::string Describe(const Tensor& tensor);

}  // namespace kernels
