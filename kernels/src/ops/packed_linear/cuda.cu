#include <algorithm>
#include <optional>

#include "ops/packed_linear/cuda_quantize.h"
#include "ops/rms_norm/cuda_scale.h"

// quantizedLinear and gatedLinear: activations are rounded into scratch, then multiplied. The
// integers and the chain of fused multiply-adds over blocks are the processor's, and so are the
// bits.
namespace kernels::cuda {

namespace packed {

namespace {

constexpr unsigned kQuantizeThreads = 256;

// One warp rounds a unit of a row. Rows beyond the last have codes of 0.
__device__ __forceinline__ void QuantizeUnit(const Rounding& rounding, const Activations& y,
                                             int bits, int planes, int64_t row, int64_t unit,
                                             float scale) {
  const LaneCodes codes = RoundUnit(rounding, bits, row, unit, scale);
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

constexpr int kQuantizeWarps = kQuantizeThreads / kWarpSize;

__global__ void QuantizeKernel(Rounding rounding, Activations y, int bits, int planes,
                               int64_t units, int64_t warps) {
  const int64_t index = blockIdx.x * int64_t{kQuantizeWarps} + threadIdx.x / kWarpSize;
  if (index >= warps) return;
  QuantizeUnit(rounding, y, bits, planes, index / units, index % units, 1.0f);
}

// One block for each row, since all of a row has to be seen first.
__global__ void NormQuantizeKernel(Rounding rounding, Activations y, int bits, int planes,
                                   int64_t units) {
  const int64_t row = blockIdx.x;
  float scale = 0;
  if (row < rounding.rows) {
    scale = RmsScale<kQuantizeThreads>(rounding.x.Row(row), rounding.in, rounding.epsilon);
  }
  for (int64_t unit = threadIdx.x / kWarpSize; unit < units; unit += kQuantizeWarps)
    QuantizeUnit(rounding, y, bits, planes, row, unit, scale);
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

// A weight whose tensors are such.
class AlignedWeight {
 public:
  AlignedWeight(const BiasedWeight& linear, Parts& parts)
      : words_(linear.weight.words, parts),
        scales_(linear.weight.scales, parts),
        zeros_(linear.weight.zeros, parts),
        linear_(linear) {}
  Weight Get(Session& session, const Parts& parts) const {
    return {.words = reinterpret_cast<const uint4*>(words_.Get(session, parts)),
            .scales = scales_.Get(session, parts),
            .zeros = zeros_.Get(session, parts),
            .dtype = linear_.weight.scales.dtype,
            .zero = linear_.weight.zero,
            .bias = linear_.bias.data,
            .bias_dtype = linear_.bias.dtype};
  }

 private:
  AlignedData words_, scales_, zeros_;
  const BiasedWeight& linear_;
};

int StepsLog2(int64_t block_size) {
  return block_size <= kStepPlaces ? 0 : block_size <= 2 * kStepPlaces ? 1 : 2;
}

// What an operation multiplies: y of a linear and what is done to it.
struct Request {
  const LinearInput& input;
  const BiasedWeight& linear;
  const BiasedWeight* gate;  // or null
  const Tensor& gates;       // scratch, if there is a gate
  const Tensor& residual;    // or empty
  const Tensor& y;
};

bool HasWideRows(const Matrix<const float>& rows) {
  return rows.stride % 4 == 0 && IsAligned(rows.data, 16);
}

// Without what the weights hold.
Product ProductOf(const Request& request) {
  const PackedWeight& packed = request.linear.weight;
  Product product{};
  const Layout layout = {packed.OutputBlocks(), packed.Blocks(),
                         static_cast<int>(packed.BlockWords()), StepsLog2(packed.block_size)};
  product.layout = layout;
  product.rows = request.y.shape[0];
  product.out = request.y.shape[1];
  product.rounding = {MatrixOf<const float>(request.input.x),
                      request.input.order.As<const int32_t>(),
                      request.input.norm.data,
                      request.input.norm.dtype,
                      request.input.epsilon,
                      product.rows,
                      request.input.x.shape[1],
                      layout.blocks,
                      static_cast<int>(packed.block_size),
                      layout.steps_log2,
                      static_cast<float>(request.input.activation_bits == 16 ? kLargestWideCode
                                                                             : kLargestNarrowCode)};
  if (!request.residual.empty()) product.residual = MatrixOf<const float>(request.residual);
  product.y = MatrixOf<float>(request.y);
  product.has_wide_rows = product.out % 4 == 0 && HasWideRows(MatrixOf<const float>(request.y)) &&
                          HasWideRows(product.residual);
  return product;
}

void Quantize(Session& session, const Product& product, int bits, int planes, int64_t rows) {
  const int64_t units = product.layout.Units();
  if (product.rounding.norm != nullptr) {
    return Launch(session, NormQuantizeKernel,
                  {.blocks_x = BlockCount(rows), .threads = kQuantizeThreads}, product.rounding,
                  product.x, bits, planes, units);
  }
  Launch(session, QuantizeKernel,
         {.blocks_x = BlockCount(CeilDivide(rows * units, kQuantizeWarps)),
          .threads = kQuantizeThreads},
         product.rounding, product.x, bits, planes, units, rows * units);
}

// A product of which each output is the gate of the same output of `product`.
Product GatesOf(const Product& product, const Tensor& gates) {
  Product result = product;
  result.weights[0] = product.weights[1];
  result.y = MatrixOf<float>(gates);
  result.has_wide_rows = product.out % 4 == 0 && HasWideRows(MatrixOf<const float>(gates));
  return result;
}

void Multiply(Session& session, const Request& request) {
  Product product = ProductOf(request);
  const Layout& layout = product.layout;
  if (product.rows == 0 || product.out == 0) return;
  const int bits = request.linear.weight.bits;
  const int planes = request.input.activation_bits == 16 ? 2 : 1;
  const int64_t tiles = product.rows == 1 ? 0 : product.Tiles();
  Parts parts;
  const size_t codes =
      parts.Add<uint2>(tiles * layout.blocks * layout.BlockSteps() * planes * kWarpSize);
  const size_t scales = parts.Add<float>(tiles * layout.blocks * kTileRows);
  const size_t sums = parts.Add<int32_t>(tiles * layout.blocks * kTileRows);
  const AlignedWeight own(request.linear, parts);
  std::optional<AlignedWeight> gate;
  if (request.gate != nullptr) gate.emplace(*request.gate, parts);
  parts.Allocate(session);
  product.x = {parts.At<uint2>(codes), parts.At<float>(scales), parts.At<int32_t>(sums)};
  product.weights[0] = own.Get(session, parts);
  if (gate.has_value()) product.weights[1] = gate->Get(session, parts);
  if (!IsForManyRows(session, product)) {
    if (product.rows > 1) Quantize(session, product, bits, planes, product.rows);
    return LaunchFewRows(session, product, bits, planes);
  }
  // Read in whole tiles.
  Quantize(session, product, bits, planes, tiles * kTileRows);
  if (gate.has_value()) {
    const Product gates = GatesOf(product, request.gates);
    LaunchManyRows(session, gates, bits, planes);
    product.gates = MatrixOf<const float>(request.gates);
    product.has_wide_rows = product.has_wide_rows && gates.has_wide_rows;
  }
  LaunchManyRows(session, product, bits, planes);
}

void RunQuantizedLinear(Session& session, const QuantizedLinearArgs& args) {
  Multiply(session, {args.input, args.linear, nullptr, {}, args.residual, args.y});
}

void RunGatedLinear(Session& session, const GatedLinearArgs& args) {
  Multiply(session, {args.input, args.up, &args.gate, args.scratch, {}, args.y});
}

const Operation<QuantizedLinearArgs, RunQuantizedLinear> quantized_linear("quantizedLinear");
const Operation<GatedLinearArgs, RunGatedLinear> gated_linear("gatedLinear");

}  // namespace

}  // namespace packed

}  // namespace kernels::cuda
