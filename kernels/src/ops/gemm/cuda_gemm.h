#pragma once

#include "cuda/async_copy.h"
#include "cuda/launch.h"

// Products in f32 for operations on a GPU: not on tensor cores, whose f32 has 11 bits. A block has
// a square tile of c, a thread kPer x kPer of its elements; slices of a and b arrive in shared
// memory while the ones before are multiplied. Every element is one chain of fused multiply-adds
// for each kFold of the depth, whatever the tile.
namespace kernels::cuda {

// c += alpha a^T b, with both sides' rows along the depth.
struct GemmProduct {
  int64_t rows, columns, depth;
  Matrix<const float> a;  // [depth, rows]
  Matrix<const float> b;  // [depth, columns]
  Matrix<float> c;
  float alpha;
  bool upper_only = false;          // elements below the diagonal keep their values
  const int32_t* status = nullptr;  // where it is not 0, nothing is done
  // Whether rows may be read or written 16 bytes at a time; MultiplyMatrices finds out.
  bool a_aligned = false, b_aligned = false, c_aligned = false;
};

constexpr int kGemmThreads = 256;
constexpr int kGemmSlice = 16;
constexpr int64_t kGemmFold = 256;

template <int kTile>
using GemmSlices = float4[2][kGemmSlice][kTile / 4];

// What a thread brings of one side: the same four columns of every kRows-th row.
template <int kTile>
class GemmSide {
 public:
  static constexpr int kAcross = kTile / 4;
  static constexpr int kRows = kGemmThreads / kAcross;

  __device__ GemmSide(const Matrix<const float>& side, bool aligned, int64_t column,
                      int64_t extent) {
    const int64_t left = extent - column - static_cast<int64_t>(threadIdx.x) % kAcross * 4;
    from_ = side.Row(FirstRow()) + column + static_cast<int64_t>(threadIdx.x) % kAcross * 4;
    count_ = left < 0 ? 0 : left < 4 ? static_cast<int>(left) : 4;
    if (aligned && count_ == 4) count_ = kWhole;
  }

  // Starts to bring the next kGemmSlice rows, of which there are `rows`; zeros beyond the end.
  __device__ void Bring(int64_t stride, int64_t rows, float4 (&slice)[kGemmSlice][kAcross]) {
#pragma unroll
    for (int first = 0; first < kGemmSlice; first += kRows) {
      const bool is_row = first + FirstRow() < rows;
      float4* to = &slice[first + FirstRow()][threadIdx.x % kAcross];
      if (is_row && count_ == kWhole) {
        CopyAsync16(to, from_);
      } else {
        const int count = is_row ? count_ : 0;
        *to = {count > 0 ? from_[0] : 0.0f, count > 1 ? from_[1] : 0.0f,
               count > 2 ? from_[2] : 0.0f, count > 3 ? from_[3] : 0.0f};
      }
      from_ += stride * kRows;
    }
  }

 private:
  static constexpr int kWhole = 5;  // four that may be copied at once

  __device__ static int FirstRow() { return static_cast<int>(threadIdx.x) / kAcross; }

  const float* from_;
  int count_;
};

// A thread's elements: rows and columns come in fours, 64 apart.
template <int kTile>
struct GemmSums {
  static constexpr int kPer = kTile / 16;
  float sums[kPer][kPer];

  __device__ static int Row(int i) {
    return i / 4 * 64 + static_cast<int>(threadIdx.x) / 16 * 4 + i % 4;
  }
  __device__ static int Column(int j) {
    return j / 4 * 64 + static_cast<int>(threadIdx.x) % 16 * 4 + j % 4;
  }

  __device__ void Clear() {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
#pragma unroll
      for (int j = 0; j < kPer; ++j) sums[i][j] = 0;
    }
  }

  __device__ void Multiply(const float4 (&a)[kGemmSlice][kTile / 4],
                           const float4 (&b)[kGemmSlice][kTile / 4]) {
    for (int k = 0; k < kGemmSlice; ++k) {
      float left[kPer], right[kPer];
#pragma unroll
      for (int q = 0; q < kPer; q += 4) {
        const float4 x = a[k][Row(q) / 4];
        const float4 y = b[k][Column(q) / 4];
        left[q] = x.x, left[q + 1] = x.y, left[q + 2] = x.z, left[q + 3] = x.w;
        right[q] = y.x, right[q + 1] = y.y, right[q + 2] = y.z, right[q + 3] = y.w;
      }
#pragma unroll
      for (int i = 0; i < kPer; ++i) {
#pragma unroll
        for (int j = 0; j < kPer; ++j) sums[i][j] = __fmaf_rn(left[i], right[j], sums[i][j]);
      }
    }
  }

  // Adds them to c.
  __device__ void Fold(const GemmProduct& p, int64_t tile_row, int64_t tile_column) const {
    const int64_t row = tile_row + Row(0);
    const int64_t column = tile_column + Column(0);
    float* to = p.c.Row(row) + column;
    const bool is_inside = tile_row + kTile <= p.rows && tile_column + kTile <= p.columns;
    if (p.c_aligned && is_inside && !(p.upper_only && tile_column == tile_row)) {
      FoldWhole(to, p.c.stride, p.alpha);
    } else {
      FoldPart(to, p, row, column);
    }
  }

 private:
  __device__ void FoldWhole(float* to, int64_t stride, float alpha) const {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
#pragma unroll
      for (int q = 0; q < kPer; q += 4) {
        auto* four = reinterpret_cast<float4*>(to + q * 16);
        float4 c = *four;
        c.x = __fmaf_rn(alpha, sums[i][q], c.x);
        c.y = __fmaf_rn(alpha, sums[i][q + 1], c.y);
        c.z = __fmaf_rn(alpha, sums[i][q + 2], c.z);
        c.w = __fmaf_rn(alpha, sums[i][q + 3], c.w);
        *four = c;
      }
      to += stride * (i == 3 ? 61 : 1);
    }
  }

  __device__ void FoldPart(float* to, const GemmProduct& p, int64_t row, int64_t column) const {
    const int64_t rows = p.rows - row;
    const int64_t columns = p.columns - column;
    const int64_t diagonal = p.upper_only ? row - column : -kTile;
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int row_at = i / 4 * 64 + i % 4;
#pragma unroll
      for (int j = 0; j < kPer; ++j) {
        const int at = j / 4 * 64 + j % 4;
        if (row_at >= rows || at >= columns || at - row_at < diagonal) continue;
        to[at] = __fmaf_rn(p.alpha, sums[i][j], to[at]);
      }
      to += p.c.stride * (i == 3 ? 61 : 1);
    }
  }
};

template <int kTile>
__global__ void __launch_bounds__(kGemmThreads, 2) GemmKernel(GemmProduct p) {
  SHARED(GemmSlices<kTile>, a);
  SHARED(GemmSlices<kTile>, b);
  if (p.status != nullptr && *p.status != 0) return;
  const int64_t across = CeilDivide(p.columns, kTile);
  const int64_t row = int64_t{blockIdx.x} / across * kTile;
  const int64_t column = int64_t{blockIdx.x} % across * kTile;
  if (p.upper_only && column < row) return;
  GemmSide<kTile> left(p.a, p.a_aligned, row, p.rows);
  GemmSide<kTile> right(p.b, p.b_aligned, column, p.columns);
  const auto bring = [&](int64_t depth) {
    const int buffer = static_cast<int>(depth / kGemmSlice % 2);
    left.Bring(p.a.stride, p.depth - depth, a[buffer]);
    right.Bring(p.b.stride, p.depth - depth, b[buffer]);
    CommitCopies();
  };
  GemmSums<kTile> sums;
  sums.Clear();
  bring(0);
  for (int64_t depth = 0; depth < p.depth; depth += kGemmSlice) {
    WaitCopies<0>();
    // All have come here: this slice has landed for every thread, and the one before is done with.
    __syncthreads();
    const int64_t next = depth + kGemmSlice;
    if (next < p.depth) bring(next);
    const int buffer = static_cast<int>(depth / kGemmSlice % 2);
    sums.Multiply(a[buffer], b[buffer]);
    if (next % kGemmFold == 0 || next >= p.depth) {
      sums.Fold(p, row, column);
      sums.Clear();
    }
  }
}

// Whether NVIDIA's library did it.
inline bool MultiplyByLibrary(Session& session, const GemmProduct& p) {
  const bool is_for_it =
      !p.upper_only && p.status == nullptr && CublasLt::IsWorthwhile(p.rows, p.columns, p.depth);
  return is_for_it && session.cublas_lt() != nullptr &&
         session.cublas_lt()->Multiply(session.stream(), {.dtype = DType::kF32,
                                                          .rows = p.rows,
                                                          .columns = p.columns,
                                                          .depth = p.depth,
                                                          .a = p.a.data,
                                                          .a_stride = p.a.stride,
                                                          .b = p.b.data,
                                                          .b_stride = p.b.stride,
                                                          .c = p.c.data,
                                                          .c_stride = p.c.stride,
                                                          .alpha = p.alpha});
}

inline void MultiplyMatrices(Session& session, GemmProduct product) {
  if (product.depth == 0 || MultiplyByLibrary(session, product)) return;
  const auto aligned = [](const auto& matrix) {
    return (reinterpret_cast<uintptr_t>(matrix.data) | matrix.stride * sizeof(float)) % 16 == 0;
  };
  product.a_aligned = aligned(product.a);
  product.b_aligned = aligned(product.b);
  product.c_aligned = aligned(product.c);
  const auto tiles = [&](int64_t tile) {
    return CeilDivide(product.rows, tile) * CeilDivide(product.columns, tile);
  };
  // Large tiles read less, small ones keep more of the GPU busy.
  const int64_t large = product.upper_only ? tiles(128) / 2 : tiles(128);
  if (large >= session.multiprocessors()) {
    Launch(session, GemmKernel<128>, {.blocks_x = BlockCount(tiles(128)), .threads = kGemmThreads},
           product);
  } else {
    Launch(session, GemmKernel<64>, {.blocks_x = BlockCount(tiles(64)), .threads = kGemmThreads},
           product);
  }
}

}  // namespace kernels::cuda
