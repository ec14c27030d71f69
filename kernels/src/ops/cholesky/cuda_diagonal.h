#pragma once

#include "cuda/launch.h"

// The diagonal block in double, by one block of threads that keeps it in registers: thread t has
// column t % 64 of rows t / 64, t / 64 + 4, ... A step reads one column (and one row) of it from
// shared memory. Below the diagonal the registers hold numbers that nothing reads.
namespace kernels::cuda {

constexpr int kCholeskyBlock = 64;

class DiagonalBlock {
 public:
  static constexpr int kThreads = 256;
  // What a step reads, twice: the next one is written while this one is read.
  struct Step {
    double column[kCholeskyBlock], row[kCholeskyBlock];
  };
  using Steps = Step[2];

  // The upper triangle at `block`, rows `stride` apart; zeros elsewhere.
  __device__ void Load(const float* block, int64_t stride, int size) {
    for (int m = 0; m < kRows; ++m) {
      const int i = Row(m);
      values_[m] = i <= Column() && Column() < size ? double{block[i * stride + Column()]} : 0.0;
    }
  }

  // H = R R^T, last column first. Returns 0, or 1 + the row whose pivot is not positive and finite,
  // in every thread. Columns are divided by the roots of their pivots at the end, all at once.
  __device__ int Factor(int size, Steps& steps) {
    constexpr double kLargest = 1.7976931348623157e308;
    double own_pivot = 1;
    for (int j = size - 1; j >= 0; --j) {
      double (&column)[kCholeskyBlock] = steps[j % 2].column;
      if (Column() == j) {
#pragma unroll
        for (int m = 0; m < kRows; ++m) column[Row(m)] = values_[m];
      }
      __syncthreads();
      const double pivot = column[j];
      if (!(pivot > 0 && pivot <= kLargest)) return j + 1;
      if (Column() == j) own_pivot = pivot;
      if (Column() >= j) continue;
      const double scaled = column[Column()] / pivot;
#pragma unroll
      for (int m = 0; m < kRows; ++m) values_[m] = fma(-column[Row(m)], scaled, values_[m]);
    }
    const double inverse = 1.0 / sqrt(own_pivot);
#pragma unroll
    for (int m = 0; m < kRows; ++m) values_[m] *= inverse;
    return 0;
  }

  // R^-1, last row first: when row p is done, its effect on the rows above is subtracted.
  __device__ void Invert(int size, Steps& steps) {
    __syncthreads();
    for (int p = size - 1; p >= 0; --p) {
      Step& step = steps[p % 2];
      for (int m = 0; m < kRows; ++m) {
        if (Row(m) == p) step.row[Column()] = values_[m];
        if (Column() == p) step.column[Row(m)] = values_[m];
      }
      __syncthreads();
      if (Column() < p) continue;
      const bool is_diagonal = Column() == p;
      const double inverse = 1.0 / step.column[p];
      const double done = is_diagonal ? inverse : step.row[Column()] * inverse;
      for (int m = 0; m < kRows; ++m) {
        if (Row(m) == p) values_[m] = done;
        if (Row(m) >= p) continue;
        values_[m] = fma(-step.column[Row(m)], done, is_diagonal ? 0.0 : values_[m]);
      }
    }
  }

  __device__ void Store(float* block, int64_t stride, int size) const {
    for (int m = 0; m < kRows; ++m) {
      const int i = Row(m);
      if (i >= size || Column() >= size) continue;
      block[i * stride + Column()] = i <= Column() ? static_cast<float>(values_[m]) : 0.0f;
    }
  }

 private:
  static constexpr int kRows = kCholeskyBlock * kCholeskyBlock / kThreads;

  __device__ static int Column() { return static_cast<int>(threadIdx.x) % kCholeskyBlock; }
  __device__ static int Row(int m) {
    return static_cast<int>(threadIdx.x) / kCholeskyBlock + m * (kThreads / kCholeskyBlock);
  }

  double values_[kRows];
};

}  // namespace kernels::cuda
