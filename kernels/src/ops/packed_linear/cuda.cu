#include "ops/packed_linear/cuda.h"

#include <algorithm>

// quantizedLinear: activations are rounded into scratch, then multiplied. The integers and the
// chain of fused multiply-adds over blocks are the processor's, and so are the bits.
namespace kernels::cuda {

namespace packed {

namespace {

constexpr unsigned kQuantizeThreads = 256;

// Adding this rounds a float of magnitude below 2^22 to an integer, to even, in its low bits.
constexpr float kRounder = 0x1.8p23f;

struct Rounding {
  Matrix<const float> x;
  const int32_t* order;  // or null
  int64_t rows, in, blocks;
  int bits, block_size, block_steps, planes;
  float largest;
  Activations y;
};

// One warp rounds a block of a row; a lane the four places that share a word of an mma's operand.
// Rows beyond the last have codes of 0.
__global__ void QuantizeKernel(Rounding r, int64_t warps) {
  const int64_t index =
      blockIdx.x * int64_t{kQuantizeThreads / kWarpSize} + threadIdx.x / kWarpSize;
  if (index >= warps) return;
  const int64_t row = index / r.blocks;
  const int64_t block = index % r.blocks;
  const int lane = threadIdx.x % kWarpSize;
  const int step = lane / 8;
  const int t = lane / 2 % 4;
  const int half = lane % 2;
  const int first = step * kStepPlaces + (r.bits == 4 ? 8 * t + half : 16 * half + 4 * t);
  float x[4];
  uint32_t largest = 0;
  for (int i = 0; i < 4; ++i) {
    const int place = first + (r.bits == 4 ? 2 * i : i);
    int64_t input = block * r.block_size + place;
    if (r.order != nullptr && place < r.block_size) input = r.order[input];
    const bool is_input = row < r.rows && place < r.block_size && input >= 0 && input < r.in;
    x[i] = is_input ? r.x.Row(row)[input] : 0.0f;
    largest = std::max(largest, __float_as_uint(x[i]) & 0x7fffffffu);
  }
  largest = WarpMax(largest);
  const bool is_number = largest < 0x7f800000u;
  const float most = __uint_as_float(largest);
  uint32_t planes[2] = {};
  int32_t sum = 0;
  for (int i = 0; i < 4 && is_number && largest != 0; ++i) {
    // Divided first: r.largest / most would overflow for a tiny `most`.
    const float rounded = x[i] / most * r.largest + kRounder;
    const int32_t code = __float_as_int(rounded) - __float_as_int(kRounder);
    sum += code;
    planes[0] |= (static_cast<uint32_t>(code) & 0xffu) << (8 * i);
    planes[1] |= (static_cast<uint32_t>(code + 128) >> 8 & 0xffu) << (8 * i);
  }
  sum = WarpSum(sum);
  const int64_t tile = row / kTileRows;
  const int column = static_cast<int>(row % kTileRows);
  const int64_t steps = r.blocks * r.block_steps;
  auto* words = reinterpret_cast<uint32_t*>(r.y.codes);
  for (int plane = 0; plane < r.planes && step < r.block_steps; ++plane) {
    const int64_t at = (tile * steps + block * r.block_steps + step) * r.planes + plane;
    words[(at * kWarpSize + column * 4 + t) * 2 + half] = planes[plane];
  }
  if (lane != 0) return;
  const int64_t at = (tile * r.blocks + block) * kTileRows + column;
  r.y.scales[at] = is_number ? most / r.largest : __uint_as_float(0x7fc00000u);
  r.y.sums[at] = sum;
}

// Up to this many rows reading the weight from the cache again for each 8 of them is less than what
// few blocks of many rows would leave idle.
constexpr int64_t kFewRows = 32;

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

void RunQuantizedLinear(Session& session, const QuantizedLinearArgs& args) {
  Product product = ProductOf(args);
  Weight& weight = product.weight;
  if (product.rows == 0 || product.out == 0) return;
  const int planes = args.activation_bits == 16 ? 2 : 1;
  const int64_t tiles = product.Tiles();
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

  // Many rows are read in whole tiles.
  const int64_t rows = product.rows > kFewRows ? tiles * kTileRows : product.rows;
  const int64_t warps = rows * weight.blocks;
  Launch(
      session, QuantizeKernel,
      {.blocks_x = BlockCount(CeilDivide(warps, kQuantizeThreads / kWarpSize)),
       .threads = kQuantizeThreads},
      Rounding{MatrixOf<const float>(args.x), args.order.As<const int32_t>(), product.rows,
               args.x.shape[1], weight.blocks, args.weight.bits,
               static_cast<int>(args.weight.block_size), weight.BlockSteps(), planes,
               static_cast<float>(planes == 2 ? kLargestWideCode : kLargestNarrowCode), product.x},
      warps);
  if (product.rows > kFewRows) return LaunchManyRows(session, product, args.weight.bits, planes);
  LaunchFewRows(session, product, args.weight.bits, planes);
}

const Operation<QuantizedLinearArgs, RunQuantizedLinear> operation("quantizedLinear");

}  // namespace

}  // namespace packed

}  // namespace kernels::cuda
