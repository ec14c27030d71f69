#include "ops/linear_gptq/tasks.h"

#include <algorithm>

namespace kernels {

namespace {

// Multiplications below which waking a thread costs more than it saves.
constexpr int64_t kSmall = 1 << 16;

std::vector<int32_t> GroupOfWords(const std::vector<int32_t>& groups, int64_t per_word) {
  std::vector<int32_t> words(groups.size() / per_word);
  for (size_t w = 0; w < words.size(); ++w) {
    const int32_t* group = groups.data() + w * per_word;
    const bool same = std::all_of(group, group + per_word, [&](int32_t g) { return g == *group; });
    words[w] = same ? *group : kMixed;
  }
  return words;
}

}  // namespace

void RunGptqTasks(const Context& context, const LinearGptqArgs& args,
                  void (*run)(const GptqLinear& linear, const GptqTask& task, float* scratch)) {
  const GptqWeight weight = GptqWeightOf(args);
  const int64_t rows = args.y.shape[0];
  const int64_t out = args.y.shape[1];
  const int64_t in = args.x.shape[1];
  const std::vector<int32_t> groups = GroupOfInputs("linearGptq", weight, in);
  const std::vector<int32_t> word_groups = GroupOfWords(groups, weight.CodesPerWord());
  const GptqLinear linear = {args, weight, groups.data(), word_groups.data()};
  const int64_t across = (out + kGptqTaskColumns - 1) / kGptqTaskColumns;
  const int64_t down = (rows + kGptqTaskRows - 1) / kGptqTaskRows;
  const size_t bytes = static_cast<size_t>(GptqScratch(weight.Groups())) * sizeof(float);
  const auto run_task = [&](int64_t index, int worker) {
    const int64_t row = index / across * kGptqTaskRows;
    const int64_t column = index % across * kGptqTaskColumns;
    const GptqTask task = {row, std::min(row + kGptqTaskRows, rows), column,
                           std::min(column + kGptqTaskColumns, out)};
    run(linear, task, reinterpret_cast<float*>(context.pool.Scratch(worker, bytes)));
  };
  if (rows * in * out < kSmall) {
    for (int64_t i = 0; i < across * down; ++i) run_task(i, 0);
    return;
  }
  context.pool.ParallelFor(across * down, run_task);
}

}  // namespace kernels
