#pragma once

#if defined(KERNELS_EMULATE_CUDA)
#include "cuda/emulation.h"
#else
#include <cuda_runtime.h>
#define SHARED(Type, name) __shared__ Type name
#define DYNAMIC_SHARED(Type, name)                              \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  Type* name = reinterpret_cast<Type*>(name##_bytes)
#endif

#include <string>

#include "core/dtype.h"
#include "core/error.h"
#include "core/tensor.h"
#include "cuda/session.h"

// What kernels and their launches are written with, in both worlds.
namespace kernels::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarpSize = 32;

struct Shape {
  unsigned blocks_x = 1, blocks_y = 1, blocks_z = 1;
  unsigned threads = 256;
  size_t shared_bytes = 0;  // of DYNAMIC_SHARED
};

// The most blocks that a grid's first dimension may have; the others have 65535.
constexpr int64_t kMostBlocks = 0x7fffffff;

inline unsigned BlockCount(int64_t blocks) {
  if (blocks > kMostBlocks) throw Error(Code::kUnsupported, "too many elements for one launch");
  return static_cast<unsigned>(blocks);
}

constexpr int64_t CeilDivide(int64_t value, int64_t by) {
  return (value + by - 1) / by;
}

// Enqueues a kernel on the session's stream; nothing for an empty grid.
template <class... Parameters, class... Arguments>
void Launch(Session& session, void (*kernel)(Parameters...), const Shape& shape,
            Arguments... arguments) {
  if (shape.blocks_x == 0 || shape.blocks_y == 0 || shape.blocks_z == 0) return;
  if (shape.shared_bytes > 0) {
    platform::AllowShared(reinterpret_cast<const void*>(kernel), shape.shared_bytes);
  }
#if defined(KERNELS_EMULATE_CUDA)
  (void)session;
  emulation::RunGrid({shape.blocks_x, shape.blocks_y, shape.blocks_z}, {shape.threads, 1, 1},
                     shape.shared_bytes, [&] { kernel(Parameters(arguments)...); });
#else
  // Not the angle brackets, which clang-format takes apart.
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(shape.blocks_x, shape.blocks_y, shape.blocks_z);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(session.stream());
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
  if (status != cudaSuccess) {
    throw Error(Code::kDevice,
                std::string("CUDA: launching a kernel: ") + cudaGetErrorString(status));
  }
#endif
}

// A matrix as kernels see it: rows `stride` elements apart. A vector is a matrix of one row.
template <class T>
struct Matrix {
  T* data;
  int64_t stride;
  __device__ T* Row(int64_t index) const { return data + index * stride; }
};

template <class T>
Matrix<T> MatrixOf(const Tensor& tensor) {
  return {tensor.As<T>(), tensor.rank > 1 ? tensor.stride[0] : 0};
}

// Where a kernel reports a value that is not in [lowest, limit).
struct FaultSink {
  FaultRecord* record;
  int32_t operation;
  __device__ void Report(int64_t index, int64_t value, int64_t lowest, int64_t limit) const {
    if (atomicCAS(&record->reported, 0, 1) != 0) return;
    record->operation = operation;
    record->index = index;
    record->value = value;
    record->lowest = lowest;
    record->limit = limit;
  }
};

// Calls f(T{}) with the type of a float dtype: float, F16 or BF16.
template <class F>
void WithFloatType(DType dtype, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kF16:
      return f(F16{});
    case DType::kBF16:
      return f(BF16{});
    default:
      throw Error(Code::kDtype, std::string("expected a float dtype, not ") + DTypeName(dtype));
  }
}

// The sum over a warp, in every lane; pairs are added in a fixed order.
template <class T>
__device__ T WarpSum(T value) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2)
    value += __shfl_xor_sync(kAllLanes, value, mask);
  return value;
}

template <class T>
__device__ T WarpMax(T value) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, mask);
    value = other > value ? other : value;
  }
  return value;
}

// The sum over a block of a multiple of 32 threads, at most 1024, in every thread. All must call
// it; it begins and ends with a barrier.
template <class T>
__device__ T BlockSum(T value) {
  using Sums = T[kWarpSize];
  SHARED(Sums, sums);
  const unsigned lane = threadIdx.x % kWarpSize;
  value = WarpSum(value);
  __syncthreads();
  if (lane == 0) sums[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  return WarpSum(lane < blockDim.x / kWarpSize ? sums[lane] : T{});
}

// The largest of a block of a multiple of 32 threads, at most 1024, in every thread; not NaN. All
// must call it, and meet at a barrier before they do so again.
template <class T>
__device__ T BlockMax(T value) {
  using Largest = T[kWarpSize];
  SHARED(Largest, largest);
  const unsigned lane = threadIdx.x % kWarpSize;
  value = WarpMax(value);
  if (lane == 0) largest[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  return WarpMax(largest[lane < blockDim.x / kWarpSize ? lane : 0]);
}

}  // namespace kernels::cuda
