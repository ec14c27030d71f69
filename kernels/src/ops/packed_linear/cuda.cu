#include <algorithm>

#include "ops/packed_linear/cuda_quantize.h"

// quantizedLinear: activations are rounded into scratch, then multiplied. The integers and the
// chain of fused multiply-adds over blocks are the processor's, and so are the bits.
namespace kernels::cuda {

namespace packed {

namespace {

constexpr unsigned kQuantizeThreads = 256;

// One warp rounds a unit of a row. Rows beyond the last have codes of 0.
__global__ void QuantizeKernel(Rounding rounding, Activations y, int bits, int planes,
                               int64_t units, int64_t warps) {
  const int64_t index =
      blockIdx.x * int64_t{kQuantizeThreads / kWarpSize} + threadIdx.x / kWarpSize;
  if (index >= warps) return;
  const int64_t row = index / units;
  const int64_t unit = index % units;
  const LaneCodes codes = RoundUnit(rounding, bits, row, unit);
  const int lane = threadIdx.x % kWarpSize;
  const int64_t step = unit * kUnitSteps + lane / 8;
  const int64_t block = step >> rounding.steps_log2;
  if (block >= rounding.blocks) return;
  const int64_t tile = row / kTileRows;
  const int column = static_cast<int>(row % kTileRows);
  auto* words = reinterpret_cast<uint32_t*>(y.codes);
  const int64_t steps = rounding.blocks << rounding.steps_log2;
#pragma unroll
  for (int plane = 0; plane < 2; ++plane) {
    if (plane >= planes) break;
    const int64_t at = (tile * steps + step) * planes + plane;
    words[(at * kWarpSize + column * 4) * 2 + lane % 8] = codes.planes[plane];
  }
  if ((lane & ((8 << rounding.steps_log2) - 1)) != 0) return;
  const int64_t at = (tile * rounding.blocks + block) * kTileRows + column;
  y.scales[at] = codes.scale;
  y.sums[at] = codes.sum;
}

bool IsAligned(const void* data, size_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

__global__ void CopyBytesKernel(const uint8_t* from, uint8_t* to, int64_t count) {
  const int64_t i = blockIdx.x * int64_t{kQuantizeThreads} + threadIdx.x;
  if (i < count) to[i] = from[i];
}

// Parts of the session's scratch memory: sizes first, addresses once it is known how much.
class Parts {
 public:
  template <class T>
  size_t Add(int64_t count) {
    const size_t at = bytes_;
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;
    return at;
  }
  void Allocate(Session& session) {
    data_ = session.Scratch<uint8_t>(static_cast<int64_t>(bytes_) + 1);
  }
  template <class T>
  T* At(size_t offset) const {
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  size_t bytes_ = 0;
  uint8_t* data_ = nullptr;
};

// A tensor of a packed weight where 16 bytes can be loaded at once: a view's may begin anywhere.
class AlignedData {
 public:
  AlignedData(const Tensor& tensor, Parts& parts)
      : data_(tensor.As<const uint8_t>()), is_moved_(!IsAligned(tensor.data, 16)) {
    bytes_ = tensor.elements() * DTypeBytes(tensor.dtype);
    if (is_moved_) at_ = parts.Add<uint8_t>(bytes_);
  }
  const uint8_t* Get(Session& session, const Parts& parts) const {
    if (!is_moved_) return data_;
    auto* to = parts.At<uint8_t>(at_);
    Launch(
        session, CopyBytesKernel,
        {.blocks_x = BlockCount(CeilDivide(bytes_, kQuantizeThreads)), .threads = kQuantizeThreads},
        data_, to, bytes_);
    return to;
  }

 private:
  const uint8_t* data_;
  bool is_moved_;
  int64_t bytes_ = 0;
  size_t at_ = 0;
};

int StepsLog2(int64_t block_size) {
  return block_size <= kStepPlaces ? 0 : block_size <= 2 * kStepPlaces ? 1 : 2;
}

// With what can be accessed 16 bytes at a time.
Product ProductOf(const QuantizedLinearArgs& args) {
  const PackedWeight& weight = args.weight;
  Product product{};
  product.weight.dtype = weight.scales.dtype;
  product.weight.zero = weight.zero;
  product.weight.output_blocks = weight.OutputBlocks();
  product.weight.blocks = weight.Blocks();
  product.weight.block_lines = static_cast<int>(weight.BlockWords());
  product.weight.steps_log2 = StepsLog2(weight.block_size);
  product.rounding = {
      MatrixOf<const float>(args.x),
      args.order.As<const int32_t>(),
      args.y.shape[0],
      args.x.shape[1],
      weight.Blocks(),
      static_cast<int>(weight.block_size),
      product.weight.steps_log2,
      static_cast<float>(args.activation_bits == 16 ? kLargestWideCode : kLargestNarrowCode)};
  product.bias = args.bias.data;
  product.bias_dtype = args.bias.dtype;
  if (!args.residual.empty()) product.residual = MatrixOf<const float>(args.residual);
  product.y = MatrixOf<float>(args.y);
  product.rows = args.y.shape[0];
  product.out = args.y.shape[1];
  product.has_wide_rows = product.out % 4 == 0 && product.y.stride % 4 == 0 &&
                          product.residual.stride % 4 == 0 && IsAligned(product.y.data, 16) &&
                          IsAligned(product.residual.data, 16);
  return product;
}

void Quantize(Session& session, const Product& product, int bits, int planes, int64_t rows) {
  const int64_t units = product.weight.Units();
  Launch(session, QuantizeKernel,
         {.blocks_x = BlockCount(CeilDivide(rows * units, kQuantizeThreads / kWarpSize)),
          .threads = kQuantizeThreads},
         product.rounding, product.x, bits, planes, units, rows * units);
}

void RunQuantizedLinear(Session& session, const QuantizedLinearArgs& args) {
  Product product = ProductOf(args);
  Weight& weight = product.weight;
  if (product.rows == 0 || product.out == 0) return;
  const int bits = args.weight.bits;
  const int planes = args.activation_bits == 16 ? 2 : 1;
  const int64_t tiles = product.rows == 1 ? 0 : product.Tiles();
  Parts parts;
  const size_t codes =
      parts.Add<uint2>(tiles * weight.blocks * weight.BlockSteps() * planes * kWarpSize);
  const size_t scales = parts.Add<float>(tiles * weight.blocks * kTileRows);
  const size_t sums = parts.Add<int32_t>(tiles * weight.blocks * kTileRows);
  const AlignedData words(args.weight.words, parts);
  const AlignedData weight_scales(args.weight.scales, parts);
  const AlignedData zeros(args.weight.zeros, parts);
  parts.Allocate(session);
  product.x = {parts.At<uint2>(codes), parts.At<float>(scales), parts.At<int32_t>(sums)};
  weight.words = reinterpret_cast<const uint4*>(words.Get(session, parts));
  weight.scales = weight_scales.Get(session, parts);
  weight.zeros = zeros.Get(session, parts);
  if (IsForManyRows(session, product)) {
    // Read in whole tiles.
    Quantize(session, product, bits, planes, tiles * kTileRows);
    return LaunchManyRows(session, product, bits, planes);
  }
  if (product.rows > 1) Quantize(session, product, bits, planes, product.rows);
  LaunchFewRows(session, product, bits, planes);
}

const Operation<QuantizedLinearArgs, RunQuantizedLinear> operation("quantizedLinear");

}  // namespace

}  // namespace packed

}  // namespace kernels::cuda
