#include "ops/linear/tasks.h"

#include <algorithm>

namespace kernels {

namespace {

// Multiplications below which waking a thread costs more than it saves.
constexpr int64_t kSmall = 1 << 16;

}  // namespace

void RunLinearTasks(const Context& context, const LinearArgs& args, int lanes,
                    void (*run)(const LinearArgs& args, const LinearTask& task, float* scratch)) {
  const int64_t rows = args.y.shape[0];
  const int64_t out = args.y.shape[1];
  const int64_t in = args.x.shape[1];
  const int64_t across = (out + kLinearTaskColumns - 1) / kLinearTaskColumns;
  const int64_t down = (rows + kLinearTaskRows - 1) / kLinearTaskRows;
  const size_t bytes =
      rows <= kLinearDirectRows ? 0 : static_cast<size_t>(LinearScratch(lanes)) * sizeof(float);
  // Neighbouring tasks share x, which then stays in the outer cache while weights stream by.
  const auto run_task = [&](int64_t index, int worker) {
    const int64_t row = index / across * kLinearTaskRows;
    const int64_t column = index % across * kLinearTaskColumns;
    const LinearTask task = {row, std::min(row + kLinearTaskRows, rows), column,
                             std::min(column + kLinearTaskColumns, out)};
    run(args, task, reinterpret_cast<float*>(context.pool.Scratch(worker, bytes)));
  };
  if (rows * in * out < kSmall) {
    for (int64_t i = 0; i < across * down; ++i) run_task(i, 0);
    return;
  }
  context.pool.ParallelFor(across * down, run_task);
}

}  // namespace kernels
