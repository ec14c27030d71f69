#pragma once

#include <type_traits>

#include "cuda/launch.h"

// What operations that only go over the elements of a matrix share: a thread has `n` neighbouring
// elements, a block a part of one row.
namespace kernels::cuda {

// Elements that one load or store moves.
template <class T, int n>
struct alignas(sizeof(T) * n) Pack {
  T at[n];
};

template <class T, int n>
__device__ Pack<T, n> LoadPack(const T* from) {
  return *reinterpret_cast<const Pack<T, n>*>(from);
}

template <class T, int n>
__device__ void StorePack(T* to, const Pack<T, n>& pack) {
  *reinterpret_cast<Pack<T, n>*>(to) = pack;
}

// Whether every row is whole packs of n elements at addresses that these need.
inline bool HasPacks(const Tensor& tensor, int n) {
  const int64_t width = tensor.shape[tensor.rank - 1];
  const bool is_whole =
      width % n == 0 && (tensor.rank < 2 || tensor.shape[0] < 2 || tensor.stride[0] % n == 0);
  return is_whole && reinterpret_cast<uintptr_t>(tensor.data) % (n * DTypeBytes(tensor.dtype)) == 0;
}

constexpr unsigned kRowThreads = 256;

inline Shape RowParts(int64_t rows, int64_t width, int n) {
  return {.blocks_x = BlockCount(rows * CeilDivide(width, kRowThreads * n)),
          .threads = kRowThreads};
}

// The first of a thread's elements; beyond the row where it has none.
struct Element {
  int64_t row;
  int64_t column;
};

template <int n>
__device__ Element FirstElement(int64_t width) {
  const int64_t parts = CeilDivide(width, kRowThreads * n);
  return {blockIdx.x / parts, (blockIdx.x % parts * kRowThreads + threadIdx.x) * n};
}

// Calls f with the number of elements that a thread moves at once, as a constant: n or 1.
template <int n, class F>
void WithPacks(bool has_packs, F f) {
  if (has_packs) {
    f(std::integral_constant<int, n>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

// A matrix of any dtype as one of the largest words that its rows are whole numbers of.
struct WordRows {
  std::byte* data;
  int64_t stride;  // bytes
  int64_t width;   // bytes
};

inline WordRows WordRowsOf(const Tensor& tensor) {
  const int64_t element = DTypeBytes(tensor.dtype);
  return {tensor.data, tensor.shape[0] < 2 ? 0 : tensor.stride[0] * element,
          tensor.shape[1] * element};
}

// Calls f(Word{}) with a type of 16, 4, 2 or 1 bytes that both matrices, of one width, allow.
template <class F>
void WithWord(const WordRows& a, const WordRows& b, F f) {
  const uint64_t all = reinterpret_cast<uintptr_t>(a.data) | reinterpret_cast<uintptr_t>(b.data) |
                       static_cast<uint64_t>(a.stride) | static_cast<uint64_t>(b.stride) |
                       static_cast<uint64_t>(a.width);
  if (all % 16 == 0) return f(uint4{});
  if (all % 4 == 0) return f(uint32_t{});
  if (all % 2 == 0) return f(uint16_t{});
  return f(uint8_t{});
}

template <class Word>
Matrix<Word> MatrixOfWords(const WordRows& rows) {
  constexpr int64_t kBytes = sizeof(Word);
  return {reinterpret_cast<Word*>(rows.data), rows.stride / kBytes};
}

}  // namespace kernels::cuda
