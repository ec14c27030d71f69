#include "cuda/rows.h"
#include "cuda/tensor_core.h"
#include "ops/peak/implementations.h"

// Reading is not divided into the pieces that threads of a processor take: all of the GPU strides
// over the whole. Arithmetic: fused multiply-adds in f32, mma.sync of bf16 and of bytes; a GPU has
// no instruction for pairs of 16-bit integers.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;

constexpr int64_t kLine = 64;
constexpr int kLoads = 4;  // that a thread has under way: one line

__device__ inline uint32_t WarpXor(uint32_t value) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2)
    value ^= __shfl_xor_sync(kAllLanes, value, mask);
  return value;
}

__device__ inline uint32_t BlockXor(uint32_t value) {
  using Values = uint32_t[kThreads / kWarpSize];
  SHARED(Values, values);
  const unsigned lane = threadIdx.x % kWarpSize;
  value = WarpXor(value);
  if (lane == 0) values[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  return WarpXor(lane < kThreads / kWarpSize ? values[lane] : 0);
}

// The exclusive or of each block's words: [blocks]. x is aligned to a line.
__global__ void ReadKernel(const uint4* x, int64_t lines, uint32_t* parts) {
  uint32_t all = 0;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  const int64_t words = lines * kLoads;
  int64_t at = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  for (; at + (kLoads - 1) * step < words; at += kLoads * step) {
    uint4 word[kLoads];
    for (int i = 0; i < kLoads; ++i) word[i] = __ldg(x + at + i * step);
    for (int i = 0; i < kLoads; ++i) all ^= word[i].x ^ word[i].y ^ word[i].z ^ word[i].w;
  }
  for (; at < words; at += step) all ^= x[at].x ^ x[at].y ^ x[at].z ^ x[at].w;
  all = BlockXor(all);
  if (threadIdx.x == 0) parts[blockIdx.x] = all;
}

__global__ void CombineKernel(const uint32_t* parts, int64_t count, int32_t* y) {
  uint32_t all = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) all ^= parts[i];
  all = BlockXor(all);
  if (threadIdx.x == 0) *y = static_cast<int32_t>(all);
}

// kPeakSums independent chains. `x` is zero, which the compiler does not know; a sum that is not
// zero would be written.
__global__ void __launch_bounds__(kThreads) FloatKernel(int64_t repeats, float x, float* y) {
  float sums[kPeakSums] = {};
  for (int64_t r = 0; r < repeats; ++r) {
    for (int i = 0; i < kPeakSums; ++i) sums[i] = __fmaf_rn(sums[i], x, x);
  }
  for (int i = 1; i < kPeakSums; ++i) sums[0] += sums[i];
  if (sums[0] != 0) *y = sums[0];
}

__global__ void __launch_bounds__(kThreads) Bf16Kernel(int64_t repeats, uint32_t x, float* y) {
  float sums[kPeakSums][4] = {};
  const uint32_t a[4] = {x, x, x, x};
  for (int64_t r = 0; r < repeats; ++r) {
    for (int i = 0; i < kPeakSums; ++i) MmaBf16(sums[i], a, a);
  }
  for (int i = 1; i < kPeakSums; ++i) sums[0][0] += sums[i][0];
  if (sums[0][0] != 0) *y = sums[0][0];
}

__global__ void __launch_bounds__(kThreads) Int8Kernel(int64_t repeats, uint32_t x, float* y) {
  int32_t sums[kPeakSums][4] = {};
  const uint32_t a[4] = {x, x, x, x};
  for (int64_t r = 0; r < repeats; ++r) {
    for (int i = 0; i < kPeakSums; ++i) MmaU8S8(sums[i], a, a);
  }
  for (int i = 1; i < kPeakSums; ++i) sums[0][0] += sums[i][0];
  if (sums[0][0] != 0) *y = static_cast<float>(sums[0][0]);
}

__global__ void WriteKernel(float value, float* y) {
  *y = value;
}

void RunReadAll(Session& session, const ReadAllArgs& args) {
  const int64_t lines = args.x.shape[0] / kLine;
  const int64_t blocks = int64_t{session.multiprocessors()} * (2048 / kThreads);
  auto* parts = session.Scratch<uint32_t>(blocks);
  Launch(session, ReadKernel, {.blocks_x = BlockCount(blocks), .threads = kThreads},
         args.x.As<const uint4>(), lines, parts);
  Launch(session, CombineKernel, {.threads = kThreads}, parts, blocks, args.y.As<int32_t>());
}

void RunArithmeticPeak(Session& session, const ArithmeticPeakArgs& args) {
  // Four blocks fit a multiprocessor at once, and their warps hide every latency.
  const int64_t blocks = int64_t{session.multiprocessors()} * 4;
  const Shape shape = {.blocks_x = BlockCount(blocks), .threads = kThreads};
  auto* y = args.y.As<float>();
  int64_t of_warp = 0;  // multiply-adds of an instruction
  if (args.kind == PeakKind::kF32) of_warp = kWarpSize;
  if (args.kind == PeakKind::kBf16) of_warp = 16 * 8 * 16;
  if (args.kind == PeakKind::kInt8) of_warp = 16 * 8 * 32;
  const double warps = static_cast<double>(blocks) * (kThreads / kWarpSize);
  const double count = warps * static_cast<double>(args.repeats * kPeakSums * of_warp);
  Launch(session, WriteKernel, {.threads = 1}, static_cast<float>(count / 1e6), y);
  if (args.kind == PeakKind::kF32) Launch(session, FloatKernel, shape, args.repeats, 0.0f, y);
  if (args.kind == PeakKind::kBf16) Launch(session, Bf16Kernel, shape, args.repeats, 0u, y);
  if (args.kind == PeakKind::kInt8) Launch(session, Int8Kernel, shape, args.repeats, 0u, y);
}

const Operation<ReadAllArgs, RunReadAll> read_all("readAll");
const Operation<ArithmeticPeakArgs, RunArithmeticPeak> arithmetic_peak("arithmeticPeak");

}  // namespace

}  // namespace kernels::cuda
