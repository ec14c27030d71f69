#pragma once

#include "ops/packed_linear/packed_linear.h"

// What dispatch.cc chooses from.
namespace kernels {

// A rectangle of y in whole blocks of outputs, computed by one worker.
struct PackedTask {
  int64_t row_begin, row_end;
  int64_t block_begin, block_end;  // of outputs
};

// Up to this many rows codes are taken apart in registers, once for all rows; above, a task takes a
// block of inputs apart into scratch and multiplies its rows with it.
constexpr int64_t kPackedDirectRows = 8;
// Largest task with many rows: its activations of a block of inputs, the codes of its outputs and
// its running sums fit the inner caches together.
constexpr int64_t kPackedTaskRows = 96;
constexpr int64_t kPackedTaskBlocks = 4;

// i32 of scratch of a task with many rows: the codes of a block of inputs in pairs, then the sums.
constexpr int64_t kPackedPanel = kLargestPackedBlock / 2 * kPackedTaskBlocks * kPackedOutputs;
constexpr int64_t kPackedScratch =
    kPackedPanel + kPackedTaskRows * kPackedTaskBlocks * kPackedOutputs;

// Pairs beyond the codes of a row, a cache line of them: rows a power of two apart would fall on
// few sets of a cache.
constexpr int64_t kPackedRowPadding = 16;

using PackedRun = void (*)(const PackedLinearArgs& args, const PackedTask& task, int32_t* scratch);

// Cuts y into tasks, which are handed out to whoever is free.
void RunPackedTasks(const Context& context, const PackedLinearArgs& args, PackedRun run);

// Rows [begin, end) of the activations.
using QuantizeRun = void (*)(const QuantizeActivationsArgs& args, int64_t begin, int64_t end);

namespace reference {
void QuantizeRows(const QuantizeActivationsArgs& args, int64_t begin, int64_t end);
void PackedLinear(const Context& context, const PackedLinearArgs& args);
}  // namespace reference

#if defined(__x86_64__)
namespace avx2 {
void QuantizeRows(const QuantizeActivationsArgs& args, int64_t begin, int64_t end);
void RunPacked(const PackedLinearArgs& args, const PackedTask& task, int32_t* scratch);
}  // namespace avx2
namespace avx512 {
void QuantizeRows(const QuantizeActivationsArgs& args, int64_t begin, int64_t end);
void RunPacked(const PackedLinearArgs& args, const PackedTask& task, int32_t* scratch);
}  // namespace avx512
namespace avx512vnni {
void RunPacked(const PackedLinearArgs& args, const PackedTask& task, int32_t* scratch);
}  // namespace avx512vnni
#endif

}  // namespace kernels
