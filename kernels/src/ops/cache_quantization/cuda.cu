#include "cuda/rows.h"
#include "ops/cache_quantization/cache_quantization.h"
#include "ops/cache_quantization/cuda_grid.h"

// The order of operations is the reference's: the same bits.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;

// value = scale * (code - zero)
struct ScaleAndZero {
  float scale;
  float zero;
};

// A grid of scale 0 holds one value only, the offset of code 0.
__device__ inline ScaleAndZero ToScaleAndZero(const CacheGrid& grid) {
  const float scale = ToFloat(grid.scale);
  const float offset = ToFloat(grid.offset);
  return scale == 0 ? ScaleAndZero{1, -offset} : ScaleAndZero{scale, -offset / scale};
}

// A warp for each row of a head.
__global__ void QuantizeTokensKernel(Matrix<const float> x, int64_t items, int64_t heads,
                                     int64_t dim, uint8_t* codes, float* scale, float* zero) {
  const int64_t item = blockIdx.x * int64_t{kWarps} + threadIdx.x / kWarpSize;
  if (item >= items) return;
  const float* from = x.Row(item / heads) + item % heads * dim;
  const ScaleAndZero result = ToScaleAndZero(WarpRoundToCodes(from, dim, codes + item * dim));
  if (threadIdx.x % kWarpSize != 0) return;
  scale[item] = result.scale;
  zero[item] = result.zero;
}

// Of all rows of a head, by a block: in every thread.
__device__ inline Range BlockRange(Matrix<const float> x, int64_t rows, int64_t head, int64_t dim) {
  using Ranges = Range[kWarps];
  SHARED(Ranges, ranges);
  Range range = {INFINITY, -INFINITY};
  bool is_nan = false;
  for (int64_t i = threadIdx.x; i < rows * dim; i += kThreads) {
    const float value = x.Row(i / dim)[head * dim + i % dim];
    range = {value < range.least ? value : range.least,
             value > range.largest ? value : range.largest};
    is_nan |= value != value;
  }
  range = WarpRange(range.least, range.largest, is_nan);
  if (threadIdx.x % kWarpSize == 0) ranges[threadIdx.x / kWarpSize] = range;
  __syncthreads();
  const Range& own = ranges[threadIdx.x % kWarps];
  return WarpRange(own.least, own.largest, own.least != own.least);
}

// A block for each head. What the original leaves undefined: a head of one value gets scale 1 and
// codes 0; one that is not finite, or whose range is not, comes back as NaN.
__global__ void QuantizeCallKernel(Matrix<const float> x, int64_t rows, int64_t heads, int64_t dim,
                                   uint8_t* codes, float* scales, float* zeros) {
  const int64_t head = blockIdx.x;
  const Range range = BlockRange(x, rows, head, dim);
  float scale = (range.largest - range.least) / 255.0f;
  float zero = 0.0f - range.least / scale;
  const bool is_sound = IsFinite(scale);
  const bool is_constant = scale == 0;
  if (!is_sound) scale = zero = QuietNaN();
  if (is_constant) scale = 1;
  if (is_constant) zero = -range.least;
  for (int64_t r = threadIdx.x; r < rows; r += kThreads) {
    scales[r * heads + head] = scale;
    zeros[r * heads + head] = zero;
  }
  for (int64_t i = threadIdx.x; i < rows * dim; i += kThreads) {
    const int64_t r = i / dim;
    const int64_t d = i % dim;
    float code = is_sound && !is_constant ? x.Row(r)[head * dim + d] / scale + zero : 0.0f;
    code = code < 0.0f ? 0.0f : code > 255.0f ? 255.0f : code;
    codes[(r * heads + head) * dim + d] = static_cast<uint8_t>(static_cast<int>(code));
  }
}

__global__ void DequantizeKernel(Matrix<const uint8_t> codes, Matrix<const float> scale,
                                 Matrix<const float> zero, int64_t width, int64_t dim, float* y) {
  const auto [row, column] = FirstElement<1>(width);
  if (column >= width) return;
  const int64_t head = column / dim;
  const auto code = static_cast<float>(codes.Row(row)[column]);
  y[row * width + column] = scale.Row(row)[head] * (code - zero.Row(row)[head]);
}

void RunQuantizeCache(Session& session, const QuantizeCacheArgs& args) {
  const int64_t rows = args.x.shape[0];
  const int64_t heads = args.scale.shape[1];
  const int64_t dim = args.x.shape[1] / heads;
  if (rows == 0) return;
  const auto launch = [&](auto kernel, int64_t blocks, int64_t count) {
    Launch(session, kernel, {.blocks_x = BlockCount(blocks), .threads = kThreads},
           MatrixOf<const float>(args.x), count, heads, dim, args.codes.As<uint8_t>(),
           args.scale.As<float>(), args.zero.As<float>());
  };
  if (args.form == CacheForm::kToken) {
    launch(QuantizeTokensKernel, CeilDivide(rows * heads, kWarps), rows * heads);
  } else {
    launch(QuantizeCallKernel, heads, rows);
  }
}

void RunDequantizeCache(Session& session, const DequantizeCacheArgs& args) {
  const int64_t width = args.codes.shape[1];
  Launch(session, DequantizeKernel, RowParts(args.codes.shape[0], width, 1),
         MatrixOf<const uint8_t>(args.codes), MatrixOf<const float>(args.scale),
         MatrixOf<const float>(args.zero), width, width / args.scale.shape[1], args.y.As<float>());
}

const Operation<QuantizeCacheArgs, RunQuantizeCache> quantize("quantizeCache");
const Operation<DequantizeCacheArgs, RunDequantizeCache> dequantize("dequantizeCache");

}  // namespace

}  // namespace kernels::cuda
