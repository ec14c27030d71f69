#pragma once

#include "ops/gemm/products.h"
#include "ops/linear_gptq/linear_gptq.h"

// A weight in the GPTQ layout as the operand a of a product: its rows are outputs.
namespace kernels::cuda {

template <int kBits>
struct GptqOperand {
  static constexpr bool kRowsAreNeighbours = true;
  static constexpr int kCodesPerWord = 32 / kBits;
  static constexpr int kWords = kLaneInputs / kCodesPerWord;
  static constexpr uint32_t kMask = (1u << kBits) - 1;

  Matrix<const uint32_t> words;  // [depth / kCodesPerWord, rows]
  Matrix<const uint32_t> zeros;  // [groups, rows / kCodesPerWord]
  const void* scales;            // [groups, rows]
  int64_t scale_stride;
  DType scale_type;
  const int32_t* group_index;  // or null
  int64_t group_size, groups;
  int group_shift;  // where group_size is 2 to this power or there is one group, or -1
  uint32_t zero_offset;
  int64_t rows, depth;
  FaultSink faults;

  __device__ __forceinline__ int Zero(int64_t group, int64_t row) const {
    const int shift = static_cast<int>(row % kCodesPerWord) * kBits;
    const uint32_t stored = __ldg(zeros.Row(group) + row / kCodesPerWord) >> shift;
    return static_cast<int>((stored + zero_offset) & kMask);
  }
  __device__ __forceinline__ float ScaleOf(int64_t group, int64_t row) const {
    const int64_t at = group * scale_stride + row;
    if (scale_type == DType::kF16) return Widen(static_cast<const F16*>(scales)[at]);
    if (scale_type == DType::kBF16) return Widen(static_cast<const BF16*>(scales)[at]);
    return static_cast<const float*>(scales)[at];
  }
  // The group of an input; group 0 for one outside the table, which is reported.
  __device__ __forceinline__ int64_t Group(int64_t input) const {
    if (group_index == nullptr) {
      return group_shift >= 0 ? input >> group_shift : input / group_size;
    }
    const int32_t group = __ldg(group_index + input);
    if (group >= 0 && group < groups) return group;
    faults.Report(input, group, 0, groups);
    return 0;
  }
  // The words of inputs [input, input + kLaneInputs), zeros beyond the matrix: depth is a multiple
  // of kCodesPerWord.
  __device__ __forceinline__ void LoadWords(int64_t row, int64_t input,
                                            uint32_t (&loaded)[kWords]) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      const bool is_inside = row < rows && input + i * kCodesPerWord < depth;
      loaded[i] = is_inside ? __ldg(words.Row(input / kCodesPerWord + i) + row) : 0;
    }
  }
  static __device__ __forceinline__ int Code(const uint32_t (&loaded)[kWords], int i) {
    return static_cast<int>(loaded[i / kCodesPerWord] >> (i % kCodesPerWord * kBits) & kMask);
  }
  // One rounding, and none with 16-bit scales.
  __device__ __forceinline__ float Dequantized(int64_t group, int64_t row, int code) const {
    return ScaleOf(group, row) * static_cast<float>(code - Zero(group, row));
  }
  __device__ float Value(int64_t row, int64_t input) const {
    const uint32_t word = words.Row(input / kCodesPerWord)[row];
    const int code = static_cast<int>(word >> (input % kCodesPerWord * kBits) & kMask);
    return Dequantized(Group(input), row, code);
  }
};

// Where a chain lies in one group: the product is with code - zero, which a bf16 holds exactly, and
// a chain's sum is scaled.
template <int kBits>
struct GptqCodes : GptqOperand<kBits> {
  using Base = GptqOperand<kBits>;
  static constexpr bool kIsScaled = true;
  static constexpr int kParts = 1;
  struct Raw {
    uint32_t words[Base::kWords];
    int zero;
  };

  __device__ int64_t ChainLength() const {
    return this->group_size < kChain ? this->group_size : kChain;
  }
  __device__ __forceinline__ float Scale(int64_t row, int64_t input) const {
    return row < this->rows ? this->ScaleOf(this->Group(input), row) : 0.0f;
  }
  __device__ __forceinline__ Raw Load(int64_t row, int64_t input) const {
    Raw raw{};
    if (row >= this->rows || input >= this->depth) return raw;
    this->LoadWords(row, input, raw.words);
    raw.zero = this->Zero(this->Group(input), row);
    return raw;
  }
  // Beyond the last input x is zero, whatever this gives.
  __device__ __forceinline__ void Split(const Raw& raw, int64_t, int64_t,
                                        uint4 parts[kParts]) const {
    // 2^23 + code, minus 2^23 + zero: without conversions.
    const float zero = __uint_as_float(kBias | static_cast<uint32_t>(raw.zero));
    SplitLane<kParts>(parts, [&](int i) {
      return __uint_as_float(kBias | static_cast<uint32_t>(Base::Code(raw.words, i))) - zero;
    });
  }

 private:
  static constexpr uint32_t kBias = 0x4b000000u;
};

// Where neighbouring inputs may have any groups: the product is with the weight in f32.
template <int kBits>
struct GptqValues : GptqOperand<kBits>, PlainChains {
  using Base = GptqOperand<kBits>;
  static constexpr int kParts = 3;
  struct Raw {
    uint32_t words[Base::kWords];
  };

  __device__ __forceinline__ Raw Load(int64_t row, int64_t input) const {
    Raw raw;
    this->LoadWords(row, input, raw.words);
    return raw;
  }
  __device__ __forceinline__ void Split(const Raw& raw, int64_t row, int64_t input,
                                        uint4 parts[kParts]) const {
    SplitLane<kParts>(parts, [&](int i) {
      if (row >= this->rows || input + i >= this->depth) return 0.0f;
      const int64_t group = this->Group(input + i);
      return this->Dequantized(group, row, Base::Code(raw.words, i));
    });
  }
};

}  // namespace kernels::cuda
