#include <algorithm>

#include "core/dispatch.h"
#include "core/rows.h"
#include "ops/elementwise/elementwise.h"
#include "ops/packed_linear/implementations.h"
#include "ops/rms_norm/rms_norm.h"

namespace kernels {

namespace {

// Bytes of words that a thread takes at a time, of a stretch of its own: few leave nobody waiting
// for the last.
constexpr int64_t kTaskBytes = 32 << 10;

// Up to this many rows taking codes apart costs more than multiplying them: as bytes it takes half
// as many instructions, but sums of two planes, which more rows have no registers for.
constexpr int64_t kHalvesRows = 2;

// Elements that are normalised before the first of them is rounded: what a cache holds.
constexpr int64_t kNormElements = 1 << 20;

template <QuantizeRun run>
void QuantizeWith(const Context& context, const QuantizeActivationsArgs& args) {
  ForRows(context.pool, args.x.shape[0], args.x.shape[1],
          [&](int64_t begin, int64_t end, int) { run(args, begin, end); });
}

template <PackedRun run>
void RunWith(const Context& context, const PackedLinearArgs& args) {
  RunPackedTasks(context, args, run);
}

const char* DeclineBytes(const PackedLinearArgs& args) {
  return args.x.form == CodeForm::kPairs ? nullptr : "it multiplies pairs of 16 bits";
}

constexpr Candidate<QuantizeActivationsArgs> kQuantize[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never, QuantizeWith<avx512::QuantizeRows>},
    {"avx2", Isa::kAvx2, Never, QuantizeWith<avx2::QuantizeRows>},
#endif
    {"reference", Isa::kScalar, Never, QuantizeWith<reference::QuantizeRows>},
};

constexpr Candidate<PackedLinearArgs> kPackedLinear[] = {
#if defined(__x86_64__)
    {"avx512-vnni", Isa::kAvx512Vnni, Never, RunWith<avx512vnni::RunPacked>},
    {"avx512", Isa::kAvx512, DeclineBytes, RunWith<avx512::RunPacked>},
    {"avx2", Isa::kAvx2, DeclineBytes, RunWith<avx2::RunPacked>},
#endif
    {"reference", Isa::kScalar, DeclineBytes, reference::PackedLinear},
};

const Operation kQuantizeOperation("quantizeActivations", kQuantize);
const Operation kPackedLinearOperation("packedLinear", kPackedLinear);

// Rows of a matrix of 4-byte elements.
Tensor RowsOf(Tensor matrix, int64_t begin, int64_t count) {
  matrix.data = reinterpret_cast<std::byte*>(matrix.Row<int32_t>(begin));
  matrix.shape[0] = count;
  return matrix;
}

// Into memory of the pool, valid until that is asked for again.
QuantizedActivations Quantize(const Context& context, const LinearInput& input,
                              const PackedWeight& weight) {
  const int64_t rows = input.x.shape[0];
  const int64_t in = input.x.shape[1];
  const int64_t blocks = weight.Blocks();
  const int64_t pairs = blocks * weight.block_size / 2 + kPackedRowPadding;
  const bool has_norm = !input.norm.empty();
  const int64_t step =
      has_norm ? std::min(rows, std::max<int64_t>(1, kNormElements / std::max<int64_t>(1, in)))
               : rows;
  const size_t bytes = (rows * (pairs + 2 * blocks) + (has_norm ? step * in : 0)) * sizeof(int32_t);
  std::byte* shared = context.pool.Shared(std::max<size_t>(bytes, 1));
  const auto take = [&](DType dtype, int64_t height, int64_t columns) {
    const Tensor tensor = {shared, dtype, 2, {height, columns}, {columns, 1}};
    shared += height * columns * sizeof(int32_t);
    return tensor;
  };
  QuantizedActivations y;
  y.codes = take(DType::kI32, rows, pairs);
  y.scales = take(DType::kF32, rows, blocks);
  y.sums = take(DType::kI32, rows, blocks);
  // Elsewhere codes of 8 bits are multiplied as codes of 16: the same integers, at that speed.
  const bool is_narrow = input.activation_bits == 8;
  if (context.isa >= Isa::kAvx512Vnni) {
    const CodeForm wide = rows <= kHalvesRows ? CodeForm::kHalves : CodeForm::kPairs;
    y.form = is_narrow ? CodeForm::kBytes : wide;
  }
  const int32_t largest = is_narrow ? kLargestNarrowCode : kLargestWideCode;
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t count = std::min(step, rows - begin);
    Tensor x = RowsOf(input.x, begin, count);
    if (has_norm) {
      const Tensor normed = {shared, DType::kF32, 2, {count, in}, {in, 1}};
      RmsNorm(context, {x, input.norm, input.epsilon, normed});
      x = normed;
    }
    const QuantizedActivations part = {RowsOf(y.codes, begin, count),
                                       RowsOf(y.scales, begin, count), RowsOf(y.sums, begin, count),
                                       y.form};
    QuantizeActivations(context, {x, input.order, weight.bits, weight.block_size, part, largest});
  }
  return y;
}

}  // namespace

void RunPackedTasks(const Context& context, const PackedLinearArgs& args, PackedRun run) {
  const int64_t rows = args.y.shape[0];
  const int64_t output_blocks = args.weight.OutputBlocks();
  const bool is_direct = rows <= kPackedDirectRows;
  const int64_t row_bytes = std::max<int64_t>(1, args.weight.words.shape[1] * kPackedOutputs * 4);
  const int64_t step = is_direct ? std::max<int64_t>(1, kTaskBytes / row_bytes) : kPackedTaskBlocks;
  const int64_t across = (output_blocks + step - 1) / step;
  const int64_t down = is_direct ? 1 : (rows + kPackedTaskRows - 1) / kPackedTaskRows;
  const int64_t task_rows = is_direct ? rows : kPackedTaskRows;
  if (is_direct) context.read_ahead.Begin(args.weight.words.data, output_blocks * row_bytes);
  const auto body = [&](int64_t index, int worker) {
    const int64_t row = index / across * task_rows;
    const int64_t block = index % across * step;
    const PackedTask task = {row, std::min(row + task_rows, rows), block,
                             std::min(block + step, output_blocks)};
    int32_t* scratch = nullptr;
    if (!is_direct) {
      scratch = reinterpret_cast<int32_t*>(
          context.pool.Scratch(worker, kPackedScratch * sizeof(int32_t)));
    }
    run(args, task, scratch);
  };
  if (is_direct) return context.pool.ParallelStretches(across, body);
  // Neighbouring tasks share rows, which then stay in the cache while weights stream by.
  context.pool.ParallelFor(across * down, body);
}

void QuantizeActivations(const Context& context, const QuantizeActivationsArgs& args) {
  kQuantizeOperation.Run(context, args);
}

void PackedLinear(const Context& context, const PackedLinearArgs& args) {
  if (args.y.shape[0] == 0) return;
  kPackedLinearOperation.Run(context, args);
}

void QuantizedLinear(const Context& context, const QuantizedLinearArgs& args) {
  const auto& [weight, bias] = args.linear;
  const QuantizedActivations x = Quantize(context, args.input, weight);
  PackedLinear(context, {x, weight, bias, args.residual, args.y});
}

void GatedLinear(const Context& context, const GatedLinearArgs& args) {
  const QuantizedActivations x = Quantize(context, args.input, args.up.weight);
  PackedLinear(context, {x, args.up.weight, args.up.bias, {}, args.y});
  PackedLinear(context, {x, args.gate.weight, args.gate.bias, {}, args.scratch});
  Swiglu(context, {args.y, args.scratch, args.y});
}

}  // namespace kernels
