#pragma once

#include "ops/linear/linear.h"

namespace kernels {

// A rectangle of y, computed by one worker.
struct LinearTask {
  int64_t row_begin, row_end;
  int64_t column_begin, column_end;
};

constexpr int64_t kLinearTaskRows = 96;
constexpr int64_t kLinearTaskColumns = 24;
// Inputs per pass: a pass's widened weights, its x and its accumulators share the L2 cache.
constexpr int64_t kLinearDepth = 1024;
// Up to this many rows weights are widened as they are multiplied; above, once per pass.
constexpr int64_t kLinearDirectRows = 64;

// How many f32 a task needs: the widened weights and `lanes` partial sums per element of y.
constexpr int64_t LinearScratch(int lanes) {
  return kLinearTaskColumns * (kLinearDepth + kLinearTaskRows * lanes);
}

// Cuts y into tasks and runs them. The cut does not depend on the number of threads.
void RunLinearTasks(const Context& context, const LinearArgs& args, int lanes,
                    void (*run)(const LinearArgs& args, const LinearTask& task, float* scratch));

}  // namespace kernels
