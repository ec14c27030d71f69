#pragma once

#include <cstdint>

#include "ops/linear_gptq/linear_gptq.h"
#include "ops/packing/gptq_weight.h"

namespace kernels {

// What every task of one call shares.
struct GptqLinear {
  const LinearGptqArgs& args;
  const GptqWeight& weight;
  const int32_t* groups;       // [in]: the group of each input
  const int32_t* word_groups;  // [in / codes per word]: of all inputs of a word, or kMixed
};
constexpr int32_t kMixed = -1;

// A rectangle of y, computed by one worker.
struct GptqTask {
  int64_t row_begin, row_end;
  int64_t column_begin, column_end;
};

constexpr int64_t kGptqTaskRows = 96;
constexpr int64_t kGptqTaskColumns = 128;
// Inputs of one chain of fused multiply-adds; the chains' sums are added up in order.
constexpr int64_t kGptqDepth = 256;
// Up to this many rows codes are unpacked as they are multiplied; above, once per kGptqDepth.
constexpr int64_t kGptqDirectRows = 8;

// f32 of scratch a task needs: scale and zero of each group and column, and the unpacked weights.
constexpr int64_t GptqScratch(int64_t groups) {
  return kGptqTaskColumns * (2 * groups + kGptqDepth);
}

// Cuts y into tasks and runs them. The cut does not depend on the number of threads.
void RunGptqTasks(const Context& context, const LinearGptqArgs& args,
                  void (*run)(const GptqLinear& linear, const GptqTask& task, float* scratch));

}  // namespace kernels
