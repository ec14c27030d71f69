#include <algorithm>
#include <string>

#include "core/dispatch.h"
#include "ops/refine/implementations.h"

namespace kernels {

namespace {

template <void (*kRun)(const RefineBlockArgs&, int64_t, int, float*), int kRows>
void RefineBlockWith(const Context& context, const RefineBlockArgs& args) {
  const int64_t out = args.w.shape[0];
  const size_t bytes = RefineScratchFloats(kRows, args.end - args.begin) * sizeof(float);
  context.pool.ParallelFor((out + kRows - 1) / kRows, [&](int64_t index, int worker) {
    const int64_t first = index * kRows;
    const int rows = static_cast<int>(std::min<int64_t>(kRows, out - first));
    kRun(args, first, rows, reinterpret_cast<float*>(context.pool.Scratch(worker, bytes)));
  });
}

// Known only when the operation runs, hence not part of Check. Where scales move, a group that goes
// on outside of the block would be changed behind the residual's back.
void RequireGroups(const RefineBlockArgs& args) {
  const int32_t* group = args.column_group.As<const int32_t>();
  const int64_t groups = args.scales.shape[1];
  for (int64_t j = args.begin; j < args.end; ++j) {
    if (group[j] >= 0 && group[j] < groups) continue;
    throw Error(Code::kValue, "refineBlock: column " + std::to_string(j) + " belongs to group " +
                                  std::to_string(group[j]) + " of " + std::to_string(groups));
  }
  if (!args.refines_scales || args.begin == args.end) return;
  const int64_t in = args.w.shape[1];
  const bool enters = args.begin > 0 && group[args.begin - 1] == group[args.begin];
  const bool leaves = args.end < in && group[args.end] == group[args.end - 1];
  if (!enters && !leaves) return;
  throw Error(Code::kValue, "refineBlock: columns " + std::to_string(args.begin) + " to " +
                                std::to_string(args.end) +
                                " cut a group in two, whose scale is to change");
}

constexpr Candidate<RefineBlockArgs> kRefineBlock[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never, RefineBlockWith<avx512::RefineRows, avx512::kRefineRows>},
    {"avx2", Isa::kAvx2, Never, RefineBlockWith<avx2::RefineRows, avx2::kRefineRows>},
#endif
    {"reference", Isa::kScalar, Never,
     RefineBlockWith<reference::RefineRows, reference::kRefineRows>},
};

const Operation kRefineBlockOperation("refineBlock", kRefineBlock);

}  // namespace

void RefineBlock(const Context& context, const RefineBlockArgs& args) {
  RequireGroups(args);
  kRefineBlockOperation.Run(context, args);
}

}  // namespace kernels
