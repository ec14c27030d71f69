#pragma once

#include <type_traits>

#include "cuda/numbers.h"
#include "ops/gemm/bf16_parts.h"

// Where the kernels of products.h read their operands: rows of `depth` inputs each, read by
// kLaneInputs at a time. `Load` starts reading and gives what lies in memory, zeros beyond the
// matrix; `Split` turns what was loaded there into bf16 parts; `Value` is one element in f32.
namespace kernels::cuda {

// Of an operand whose chains are added as they are.
struct PlainChains {
  static constexpr bool kIsScaled = false;
  __device__ int64_t ChainLength() const { return kChain; }
};

// Inputs of a row side by side.
template <class T>
struct StoredRows : PlainChains {
  static constexpr int kParts = std::is_same_v<T, BF16> ? 1 : std::is_same_v<T, F16> ? 2 : 3;
  static constexpr bool kRowsAreNeighbours = false;
  static constexpr int kWords = kLaneInputs * sizeof(T) / 4;
  struct Raw {
    uint32_t words[kWords];
  };

  const T* data;
  int64_t stride, rows, depth;
  bool is_aligned;  // every row, to 16 bytes

  __device__ __forceinline__ Raw Load(int64_t row, int64_t input) const {
    Raw raw{};
    if (row >= rows || input >= depth) return raw;
    const T* from = data + row * stride + input;
    if (is_aligned && input + kLaneInputs <= depth) {
#pragma unroll
      for (int i = 0; i < kWords / 4; ++i) {
        const uint4 four = __ldg(reinterpret_cast<const uint4*>(from) + i);
        raw.words[4 * i] = four.x;
        raw.words[4 * i + 1] = four.y;
        raw.words[4 * i + 2] = four.z;
        raw.words[4 * i + 3] = four.w;
      }
      return raw;
    }
#pragma unroll
    for (int i = 0; i < kLaneInputs; ++i) {
      if (input + i >= depth) break;
      if constexpr (sizeof(T) == 4) {
        raw.words[i] = __float_as_uint(from[i]);
      } else {
        raw.words[i / 2] |= uint32_t{from[i].bits} << (16 * (i % 2));
      }
    }
    return raw;
  }

  __device__ float Value(int64_t row, int64_t input) const {
    return Widen(data[row * stride + input]);
  }

  __device__ __forceinline__ void Split(const Raw& raw, int64_t, int64_t,
                                        uint4 parts[kParts]) const {
    if constexpr (std::is_same_v<T, BF16>) {
      parts[0] = {raw.words[0], raw.words[1], raw.words[2], raw.words[3]};
    } else {
      SplitLane<kParts>(parts, [&](int i) {
        if constexpr (sizeof(T) == 4) {
          return __uint_as_float(raw.words[i]);
        } else {
          return Widen(T{static_cast<uint16_t>(raw.words[i / 2] >> (16 * (i % 2)))});
        }
      });
    }
  }
};

template <class T>
StoredRows<T> RowsOf(const T* data, int64_t stride, int64_t rows, int64_t depth) {
  const bool is_aligned = reinterpret_cast<uintptr_t>(data) % 16 == 0 &&
                          (rows <= 1 || stride * static_cast<int64_t>(sizeof(T)) % 16 == 0);
  StoredRows<T> operand;
  operand.data = data;
  operand.stride = stride;
  operand.rows = rows;
  operand.depth = depth;
  operand.is_aligned = is_aligned;
  return operand;
}

template <class T>
StoredRows<T> RowsOf(const Tensor& matrix) {
  return RowsOf<T>(matrix.As<const T>(), matrix.stride[0], matrix.shape[0], matrix.shape[1]);
}

}  // namespace kernels::cuda
