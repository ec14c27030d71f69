#pragma once

#include <type_traits>

#include "ops/gemm/bf16_parts.h"

// Where the kernels of products.h read their operands: rows of `depth` inputs each, read by
// kLaneInputs at a time. `Load` starts reading and gives what lies in memory, zeros beyond the
// matrix; `Split` turns what was loaded there into bf16 parts; `Value` is one element in f32.
namespace kernels::cuda {

__device__ __forceinline__ float Widen(float value) {
  return value;
}
__device__ __forceinline__ float Widen(BF16 value) {
  return ToFloat(value);
}
__device__ __forceinline__ float Widen(F16 value) {
#if defined(KERNELS_EMULATE_CUDA)
  return ToFloat(value);
#else
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#endif
}

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

// f32 with any two strides; for neighbouring rows side by side.
struct StridedFloats : PlainChains {
  static constexpr int kParts = 3;
  static constexpr bool kRowsAreNeighbours = true;
  struct Raw {
    float values[kLaneInputs];
  };

  const float* data;
  int64_t row_stride, input_stride, rows, depth;

  __device__ __forceinline__ Raw Load(int64_t row, int64_t input) const {
    Raw raw{};
    if (row >= rows) return raw;
    const float* from = data + row * row_stride + input * input_stride;
#pragma unroll
    for (int i = 0; i < kLaneInputs; ++i)
      if (input + i < depth) raw.values[i] = __ldg(from + i * input_stride);
    return raw;
  }

  __device__ float Value(int64_t row, int64_t input) const {
    return data[row * row_stride + input * input_stride];
  }

  __device__ __forceinline__ void Split(const Raw& raw, int64_t, int64_t,
                                        uint4 parts[kParts]) const {
    SplitLane<kParts>(parts, [&](int i) { return raw.values[i]; });
  }
};

// Pairs of bf16, the earlier input in the lower half, with any two strides; depth and inputs count
// bf16.
struct StridedPairs : PlainChains {
  static constexpr int kParts = 1;
  static constexpr bool kRowsAreNeighbours = true;
  struct Raw {
    uint32_t words[4];
  };

  const uint32_t* data;
  int64_t row_stride, pair_stride, rows, depth;

  __device__ __forceinline__ Raw Load(int64_t row, int64_t input) const {
    Raw raw{};
    if (row >= rows) return raw;
    const uint32_t* from = data + row * row_stride + input / 2 * pair_stride;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (input + 2 * i < depth) raw.words[i] = __ldg(from + i * pair_stride);
    return raw;
  }

  __device__ float Value(int64_t row, int64_t input) const {
    const uint32_t pair = data[row * row_stride + input / 2 * pair_stride];
    return ToFloat(BF16{static_cast<uint16_t>(pair >> (16 * (input % 2)))});
  }

  __device__ __forceinline__ void Split(const Raw& raw, int64_t, int64_t,
                                        uint4 parts[kParts]) const {
    parts[0] = {raw.words[0], raw.words[1], raw.words[2], raw.words[3]};
  }
};

}  // namespace kernels::cuda
